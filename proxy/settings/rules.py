"""What no single field can say: rules across the file.

They look at the document as it was written, not at typed settings, and skip what is broken in itself. So one run
tells both that a timeout has no unit and that a route has two champions.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from urllib.parse import urlsplit

from proxy.durations import parse_duration
from proxy.errors import Problem
from proxy.methods import READ_BY, class_word
from proxy.model import Role
from proxy.settings.document import Document
from proxy.settings.grammar import did_you_mean, percent
from proxy.settings.rollout_rules import check_rollouts
from proxy.settings.schema import PayloadLog, Settings
from proxy.settings.sink_rules import check_sinks
from proxy.settings.units import (
    Address,
    parse_address,
    parse_backend_url,
    parse_size,
    parse_unit_source,
)
from proxy.settings.view import View, as_text

__all__ = ["check_rules"]

_HUNDRED = Decimal(100)


def check_rules(document: Document) -> list[Problem]:
    """Return what is wrong between the fields of ``document``. A field that is wrong in itself counts as absent."""
    top = View(document, (), document.value)
    if not isinstance(document.value, dict):
        return []
    problems = [
        *_addresses(top),
        *_payload_log(top),
        *_unique(top, "routes", "name", "name"),
        *_listener(top),
    ]
    for name in top.keys("models"):
        problems += [*_secured(top.at("models").at(name)), *_servers(top.at("models").at(name))]
    for route in top.items("routes"):
        problems += _route(top, route)
    return problems


def _addresses(top: View) -> Iterator[Problem]:
    read = as_text(parse_address)
    listen, admin = (
        top.read(key, read) if top.has(key) else parse_address(Settings.model_fields[key].default)
        for key in ("listen", "admin")
    )
    if isinstance(listen, Address) and isinstance(admin, Address) and listen.collides(admin):
        key = "admin" if top.has("admin") else "listen"
        yield top.problem(key, "another port than the other address has: listen and admin are two addresses")
    if isinstance(admin, Address) and not admin.is_loopback and not top.has("admin_token"):
        yield top.problem("admin", "a loopback address such as 127.0.0.1:9090, or an admin_token beside it")


def _payload_log(top: View) -> Iterator[Problem]:
    log, fields = top.at("payload_log"), PayloadLog.model_fields
    roll, keep = (
        log.read(key, as_text(parse_size)) if log.has(key) else parse_size(fields[key].default)
        for key in ("roll_size", "keep_size")
    )
    if roll is not None and keep is not None and roll > keep:
        yield log.problem(
            "keep_size", "at least roll_size: else a file would be removed as soon as it is closed"
        )
    every = (
        log.read("roll_every", as_text(parse_duration))
        if log.has("roll_every")
        else parse_duration(fields["roll_every"].default)
    )
    age = log.read("keep_age", as_text(parse_duration)) if log.has("keep_age") else None
    if every is not None and age is not None and every > age:
        yield log.problem(
            "keep_age", "at least roll_every: else a file would be removed as soon as it is closed"
        )
    for key in ("unit_key_every", "unit_key_keep"):
        if log.has("unit_key") and log.has(key):
            yield log.problem(
                key, "no unit_key beside it: a key of your own is replaced by writing another one"
            )
    yield from check_sinks(log)


def _listener(top: View) -> Iterator[Problem]:
    tls = top.at("tls")
    for key in ("key", "client_ca"):
        if tls.has(key) and not tls.has("certificate"):
            yield tls.problem(key, "a certificate beside it: without one clients are served over plain HTTP")


def _secured(model: View) -> Iterator[Problem]:
    tls, url = model.at("tls"), model.at("url").value
    first = url[0] if isinstance(url, list) and url else url
    if tls.has("key") and not tls.has("certificate"):
        yield tls.problem("key", "a certificate beside it, which this key belongs to")
    if isinstance(first, str) and first.lower().startswith("http:"):
        meant = [key for key in ("ca", "certificate", "server_name") if tls.has(key)]
        for key in [*meant, *(["verify"] if tls.at("verify").value is False else [])]:
            yield tls.problem(key, "an https:// url beside it: over http:// nothing is encrypted or verified")
    if tls.has("ca") and tls.at("verify").value is False:
        yield tls.problem("ca", "verify: true beside it: with verify: false no authority is asked")


def _servers(model: View) -> Iterator[Problem]:
    """Compare the URLs of a model: a request may go to any of them, so they differ in the server alone."""
    urls = model.at("url")
    seen: dict[str, int] = {}
    for i, value in enumerate(urls.value if isinstance(urls.value, list) else []):
        try:
            url = parse_backend_url(value) if isinstance(value, str) else ""
        except ValueError:
            continue
        problem = partial(model.document.source.problem, (*urls.path, i))
        parts, first = urlsplit(url), urlsplit(next(iter(seen), url))
        if url in seen:
            yield problem(f"each URL once (url[{seen[url]}] is the same)")
        elif url and (parts.scheme, parts.path) != (first.scheme, first.path):
            where = f"{first.scheme}://…{first.path}"
            yield problem(f"the scheme and the path of the first URL ({where}): only the servers may differ")
        if url:
            seen.setdefault(url, i)


def _route(top: View, route: View) -> list[Problem]:
    return [
        *_unique(route, "variants", "name", "name"),
        *_unique(route, "shadows", "model", "model"),
        *_models(top, route),
        *_champion(route),
        *_weights(route),
        *check_rollouts(route),
        *_units(route),
        *_redactions(route),
        *_comparison(route.at("compare")),
        *_embedder(top, route),
    ]


def _unique(parent: View, items: str, key: str, word: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for item in parent.items(items):
        if (name := item.name(key)) is None:
            continue
        if name in seen:
            yield item.problem(
                key, f"a {word} that no other of the {items} has ({items}[{seen[name]}] has it)"
            )
        else:
            seen[name] = int(item.path[-1])


def _models(top: View, route: View) -> Iterator[Problem]:
    known = top.keys("models")
    for user in (*route.items("variants"), *route.items("shadows")):
        name = user.name("model")
        if name is not None and name not in known:
            names = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            yield user.problem(
                "model", f"a key of models{did_you_mean(name, known)}: {names or 'there is none'}"
            )


def _champion(route: View) -> Iterator[Problem]:
    variants = route.items("variants")
    champions = [v for v in variants if v.at("role").value == Role.CHAMPION]
    unclear = any(v.at("role").value not in list(Role) for v in variants)
    if variants and not champions and not unclear:
        yield route.problem("variants", "exactly one variant with role: champion", "no champion")
    for extra in champions[1:]:
        first = champions[0].path[-1]
        yield extra.problem("role", f"challenger or canary: a route has one champion (variants[{first}])")
    for champion in champions:
        for key in ("weight", "max_weight", "rollout"):
            if champion.has(key):
                yield champion.problem(key, f"no {key}: the champion gets what the others leave")


def _weights(route: View) -> Iterator[Problem]:
    read = percent().read
    weight_sum = Decimal(0)
    reserved: Counter[str] = Counter()
    for variant in route.items("variants"):
        role = variant.at("role").value
        if role not in (Role.CHALLENGER, Role.CANARY):
            continue
        weight, most = variant.read("weight", read), variant.read("max_weight", read)
        yield from _weight_or_rollout(variant, role)
        if weight is not None and most is not None and most < weight:
            yield variant.problem("max_weight", "at least the weight")
        weight_sum += weight or 0
        reserved[role] += most or 0
    if weight_sum > _HUNDRED:
        yield route.problem(
            "variants", "a sum of weights of at most 100", f"weights that add up to {weight_sum}"
        )
    for role, total in reserved.items():
        if total > _HUNDRED:
            found = f"max_weights of the {role} variants that add up to {total}"
            yield route.problem("variants", "a sum of at most 100", found)


def _weight_or_rollout(variant: View, role: str) -> Iterator[Problem]:
    """Find a variant whose weight nobody says, or two do."""
    if role == Role.CHALLENGER:
        if not variant.has("weight"):
            yield variant.problem("weight", "a percent: a challenger needs a weight (0 is allowed)")
        if variant.has("rollout"):
            yield variant.problem("rollout", "no rollout: only a canary has one (role: canary)")
    elif variant.has("weight") and variant.has("rollout"):
        found = "a weight and a rollout"
        yield variant.problem("rollout", "one of them: a rollout moves the weight by itself", found)
    elif not variant.has("weight") and not variant.has("rollout"):
        yield variant.problem(
            "weight",
            "a percent: a canary needs a weight (0 is allowed), or a rollout ({} for its defaults)",
            "neither a weight nor a rollout",
        )


def _comparison(compare: View) -> Iterator[Problem]:
    """Find what the method of comparison does not look at, and one thing at two places."""
    method = compare.read("as", str) or "auto"
    for key, methods in READ_BY.items():
        is_there = compare.at(key).value not in (None, {})
        if is_there and method != "auto" and method not in methods:
            expected = f"no {key} beside as: {method}: it is for {', '.join(sorted(methods))}"
            yield compare.problem(key, expected)
    if compare.has("at") and compare.has("label") and method != "detection":
        yield compare.problem("label", "only at: label is its older name, but for detection")
    yield from _costs(compare.at("costs"))


def _embedder(top: View, route: View) -> Iterator[Problem]:
    """Find texts that nobody is there to be asked for, or that must not be told."""
    compare = route.at("compare")
    if compare.at("embedder").value is not True:
        return
    method = compare.read("as", str) or "auto"
    if method not in ("auto", "text"):
        yield compare.problem("embedder", f"no embedder beside as: {method}: it is for text")
    if not top.has("embedder"):
        yield compare.problem("embedder", "an embedder at the top of the file: {url: …, model: …}")
    if route.at("log").at("content").value is False:
        yield compare.problem("embedder", "no embedder beside log.content: false: it is sent what models say")


def _costs(costs: View) -> Iterator[Problem]:
    """Find classes that are named twice, and a cost of what is right."""
    if not isinstance(costs.value, dict):
        return
    yield from _same_classes(costs)
    for label in costs.value:
        row = costs.at(label)
        if not isinstance(row.value, dict):
            continue
        yield from _same_classes(row)
        for other in row.value:
            if class_word(other) == class_word(label):
                yield row.problem(other, "no cost of a class for itself: what is right costs nothing")


def _same_classes(view: View) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for label in view.value:
        if (before := seen.setdefault(class_word(label), label)) != label:
            yield view.problem(label, f"each class once ({before} is the same)")


def _units(route: View) -> Iterator[Problem]:
    sources = route.at("unit")
    seen: dict[object, int] = {}
    for i, value in enumerate(sources.value if isinstance(sources.value, list) else []):
        try:
            source = parse_unit_source(value) if isinstance(value, str) else None
        except ValueError:
            continue
        if source is not None and source in seen:
            path = (*sources.path, i)
            yield route.document.source.problem(path, f"each source once (unit[{seen[source]}] is the same)")
        seen.setdefault(source, i)


def _redactions(route: View) -> Iterator[Problem]:
    for redaction in route.at("log").items("redact"):
        named = [key for key in ("json", "tensor", "header", "detect") if redaction.has(key)]
        if len(named) != 1:
            expected = "one of json: POINTER, tensor: NAME, header: NAME, detect: KIND"
            yield redaction.problem(None, expected, " and ".join(named) or "none of them")
        if redaction.has("keep") and redaction.at("action").value != "keep_last":
            yield redaction.problem("keep", "action: keep_last beside it: nothing else keeps a part")
