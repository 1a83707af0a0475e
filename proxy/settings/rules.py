"""What no single field can say: rules across the file.

They look at the document as it was written, not at typed settings, and skip what is broken in itself. So one run
tells both that a timeout has no unit and that a route has two champions.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from proxy.errors import Problem
from proxy.model import Role
from proxy.settings.document import Document, Path
from proxy.settings.grammar import did_you_mean, percent
from proxy.settings.schema import PayloadLog, Settings
from proxy.settings.units import (
    Address,
    parse_address,
    parse_backend_url,
    parse_name,
    parse_size,
    parse_unit_source,
)

__all__ = ["check_rules"]

_HUNDRED = Decimal(100)


def check_rules(document: Document) -> list[Problem]:
    """Return what is wrong between the fields of ``document``. A field that is wrong in itself counts as absent."""
    top = _View(document, (), document.value)
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


@dataclass(frozen=True, slots=True)
class _View:
    """A value of the document that may be anything, asked for what it should be."""

    document: Document
    path: Path
    value: Any

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def at(self, key: str) -> "_View":
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return _View(self.document, (*self.path, key), value)

    def items(self, key: str) -> "list[_View]":
        """Return the mappings of the list under ``key``."""
        inner = self.at(key)
        items = inner.value if isinstance(inner.value, list) else []
        return [_View(self.document, (*inner.path, i), v) for i, v in enumerate(items) if isinstance(v, dict)]

    def keys(self, key: str) -> list[str]:
        inner = self.at(key).value
        return list(inner) if isinstance(inner, dict) else []

    def read(self, key: str, parse: Callable[[Any], Any]) -> Any:
        """Return the value under ``key`` as ``parse`` reads it, or None when absent or not readable."""
        value = self.at(key).value
        try:
            return None if value is None else parse(value)
        except (ValueError, TypeError):
            return None

    def name(self, key: str) -> str | None:
        value = self.read(key, _text(parse_name))
        return value if isinstance(value, str) else None

    def problem(self, key: str | None, expected: str, found: str | None = None) -> Problem:
        path = self.path if key is None else (*self.path, key)
        return self.document.source.problem(path, expected, found)


def _text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: parse(str(value)) if isinstance(value, str) else None


def _addresses(top: _View) -> Iterator[Problem]:
    read = _text(parse_address)
    listen, admin = (
        top.read(key, read) if top.has(key) else parse_address(Settings.model_fields[key].default)
        for key in ("listen", "admin")
    )
    if isinstance(listen, Address) and isinstance(admin, Address) and listen.collides(admin):
        key = "admin" if top.has("admin") else "listen"
        yield top.problem(key, "another port than the other address has: listen and admin are two addresses")
    if isinstance(admin, Address) and not admin.is_loopback and not top.has("admin_token"):
        yield top.problem("admin", "a loopback address such as 127.0.0.1:9090, or an admin_token beside it")


def _payload_log(top: _View) -> Iterator[Problem]:
    log, fields = top.at("payload_log"), PayloadLog.model_fields
    roll, keep = (
        log.read(key, _text(parse_size)) if log.has(key) else parse_size(fields[key].default)
        for key in ("roll_size", "keep_size")
    )
    if roll is not None and keep is not None and roll > keep:
        yield log.problem(
            "keep_size", "at least roll_size: else a file would be removed as soon as it is closed"
        )


def _listener(top: _View) -> Iterator[Problem]:
    tls = top.at("tls")
    for key in ("key", "client_ca"):
        if tls.has(key) and not tls.has("certificate"):
            yield tls.problem(key, "a certificate beside it: without one clients are served over plain HTTP")


def _secured(model: _View) -> Iterator[Problem]:
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


def _servers(model: _View) -> Iterator[Problem]:
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


def _route(top: _View, route: _View) -> list[Problem]:
    return [
        *_unique(route, "variants", "name", "name"),
        *_unique(route, "shadows", "model", "model"),
        *_models(top, route),
        *_champion(route),
        *_weights(route),
        *_units(route),
        *_redactions(route),
    ]


def _unique(parent: _View, items: str, key: str, word: str) -> Iterator[Problem]:
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


def _models(top: _View, route: _View) -> Iterator[Problem]:
    known = top.keys("models")
    for user in (*route.items("variants"), *route.items("shadows")):
        name = user.name("model")
        if name is not None and name not in known:
            names = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            yield user.problem(
                "model", f"a key of models{did_you_mean(name, known)}: {names or 'there is none'}"
            )


def _champion(route: _View) -> Iterator[Problem]:
    variants = route.items("variants")
    champions = [v for v in variants if v.at("role").value == Role.CHAMPION]
    unclear = any(v.at("role").value not in list(Role) for v in variants)
    if variants and not champions and not unclear:
        yield route.problem("variants", "exactly one variant with role: champion", "no champion")
    for extra in champions[1:]:
        first = champions[0].path[-1]
        yield extra.problem("role", f"challenger or canary: a route has one champion (variants[{first}])")
    for champion in champions:
        for key in ("weight", "max_weight"):
            if champion.has(key):
                yield champion.problem(key, f"no {key}: the champion gets what the others leave")


def _weights(route: _View) -> Iterator[Problem]:
    read = percent().read
    weight_sum = Decimal(0)
    reserved: Counter[str] = Counter()
    for variant in route.items("variants"):
        role = variant.at("role").value
        if role not in (Role.CHALLENGER, Role.CANARY):
            continue
        weight, most = variant.read("weight", read), variant.read("max_weight", read)
        if not variant.has("weight") and not (role == Role.CANARY and variant.has("rollout")):
            yield variant.problem("weight", f"a percent: a {role} needs a weight (0 is allowed)")
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


def _units(route: _View) -> Iterator[Problem]:
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


def _redactions(route: _View) -> Iterator[Problem]:
    for redaction in route.at("log").items("redact"):
        if redaction.has("json") == redaction.has("header"):
            found = "both" if redaction.has("json") else "neither"
            yield redaction.problem(None, "either json: POINTER or header: NAME", found)
