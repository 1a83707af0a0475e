"""``modelproxy disagreements``: what shadows disagree about, on which inputs, and how sure that is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from proxy.commands.asking import admin_option, ask, refuse, token_option
from proxy.commands.output import as_json_option, build_console, build_grid, fail, print_json
from proxy.plural import count
from proxy.printable import printable_document

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["disagreements", "render_disagreements", "render_example"]

TIMEOUT_S = 15
SHOWN_CHARACTERS = 2000
"""Of a body; ``--json`` has all that is kept of it."""

VALUES_SHOWN = 20
"""Of a slice's; ``--json`` has all of them."""

FIELDS_SHOWN = 10
"""Of those in which answers differ, what differs above noise first; ``--json`` has all of them."""


@click.command()
@click.argument("route", required=False)
@click.option("--shadow", help="Only the shadow to this model.")
@click.option("--reason", help="Only examples with this reason.")
@click.option(
    "--slice", "slice_", metavar="NAME:VALUE", help="Only examples with this value, such as tier:gold."
)
@click.option("--extreme", is_flag=True, help="The most extreme examples first, not the newest.")
@click.option(
    "--limit", type=click.IntRange(0, 100), default=5, show_default=True, help="Examples of each shadow."
)
@click.option("--example", metavar="ID", help="One example: request, both answers, field by field.")
@admin_option
@token_option
@as_json_option
def disagreements(
    route: str | None,
    shadow: str | None,
    reason: str | None,
    slice_: str | None,
    extreme: bool,
    limit: int,
    example: str | None,
    admin: str,
    token: str | None,
    as_json: bool,
) -> None:
    """Show how often shadows disagree with the answers that clients got: beside the champion's own noise
    (compare.noise), by reason, by slice, with examples. With ROUTE only that route.

    Exit code 1 if the proxy cannot be reached, does not know what is named, or wants a token.

    \b
    Examples:
      modelproxy disagreements
      modelproxy disagreements wine --slice tier:gold --reason label
      modelproxy disagreements --extreme --limit 1
      modelproxy disagreements --example 3f9a1c20b7de
    """
    asked = {"route": route, "shadow": shadow, "reason": reason, "slice": slice_, "example": example}
    query = {name: value for name, value in asked.items() if value}
    query |= {"sort": "extreme" if extreme else "newest", "limit": str(limit)}
    document = _fetch(admin, urlencode(query), token)
    if as_json:
        print_json(document)
        return
    # Its texts are another program's, and what clients sent: none is more than text here.
    document = printable_document(document)
    console = build_console()
    if example:
        for found in _examples(document):
            console.print(render_example(found))
        return
    console.print(render_disagreements(document))


def _fetch(admin: str, query: str, token: str | None) -> dict[str, Any]:
    code, document = ask(admin, f"/api/v1/disagreements?{query}", timeout_s=TIMEOUT_S, token=token)
    if isinstance(document, dict) and code != 200 and isinstance(document.get("error"), str):
        hint = "; give --token or MODELPROXY_ADMIN_TOKEN" if code == 401 else ""
        raise fail(f"{admin}: {document['error']}{hint}")
    if code != 200 or not isinstance(document, dict) or "routes" not in document:
        raise refuse(admin, code)
    return document


def _examples(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        example
        for route in document["routes"]
        for shadow in route["shadows"]
        for example in shadow["examples"]
    ]


def render_disagreements(document: Mapping[str, Any]) -> "RenderableType":
    """Return the document as tables."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for route in document["routes"]:
        for shadow in route["shadows"]:
            parts += _shadow(route, shadow, document["confidence"])
    if not parts:
        parts = [Text("no shadow is compared: a route needs shadows, and compare.as other than none")]
    return Group(*parts)


def _shadow(route: Mapping[str, Any], shadow: Mapping[str, Any], confidence: float) -> "list[RenderableType]":
    from rich.text import Text

    compared = shadow["agree"] + shadow["disagree"]
    parts: list[RenderableType] = [Text(f"route {route['route']}, shadow {shadow['shadow']}", style="bold")]
    if not compared:
        parts.append(Text("  nothing was compared yet"))
    else:
        low, high = shadow["interval"]
        line = f"  {shadow['disagree']:,} of {count(compared, 'pair')} disagree: {shadow['rate']:.2%}"
        line += f" ({low:.2%} to {high:.2%} with {confidence:.0%} confidence at any time)"
        line += f", since {shadow['since'][:19]}Z"
        parts.append(Text(line))
        if shadow.get("mean_distance") is not None:
            low, high = shadow["distance_interval"]
            line = (
                f"  {_distance_word(route)} {shadow['mean_distance']:.4g} ({low:.4g} to {high:.4g} likewise)"
            )
            parts.append(Text(line))
        parts += _meaning(shadow.get("meaning"))
        parts += _noise(shadow, confidence)
    for title, counts in (("because of", "reasons"), ("not compared", "uncomparable_reasons")):
        if shadow[counts]:
            told = ", ".join(f"{name} {number}" for name, number in shadow[counts].items())
            parts.append(Text(f"  {title}: {told}"))
    for name, values in shadow["slices"].items():
        parts.append(_values(name, values[:VALUES_SHOWN], _distance_word(route)))
        if len(values) > VALUES_SHOWN:
            parts.append(Text(f"  and {count(len(values) - VALUES_SHOWN, 'more value')} of {name}: --json"))
    if shadow["confusion"]:
        parts.append(_mistakes(shadow["confusion"]))
    # A proxy before an upgrade does not say.
    if shadow.get("labels"):
        parts += _labels(shadow["labels"])
    if shadow["examples"]:
        parts.append(_table_of_examples(shadow["examples"]))
    return [*parts, Text("")]


def _meaning(meaning: Mapping[str, Any] | None) -> "list[RenderableType]":
    from rich.text import Text

    if meaning is None:
        return []
    low, high = meaning["distance_interval"]
    mean = f"{meaning['mean_distance']:.4g} ({low:.4g} to {high:.4g} likewise)"
    return [Text(f"  in meaning (1 - cosine of embeddings) {mean}, of {count(meaning['pairs'], 'pair')}")]


def _distance_word(route: Mapping[str, Any]) -> str:
    return "mean cost" if route.get("distance_is_cost") else "mean distance"


def _noise(shadow: Mapping[str, Any], confidence: float) -> "list[RenderableType]":
    """Return how much of the disagreement is the champion's own, or that nobody knows."""
    from rich.text import Text

    noise = shadow["noise"]
    if noise is None:
        return [Text(f"  {shadow['noise_sentence']}", style="yellow")]
    left_out = f", {noise['left_out']} left out" if noise["left_out"] else ""
    lines: list[RenderableType] = [
        Text(
            f"  {count(noise['triples'], 'request')} asked twice{left_out}: {shadow['noise_sentence']}",
            style="red" if noise["is_more"] else "",
        )
    ]
    if noise["triples"]:
        figures = f"  above noise: {noise['excess']:.2%} ({noise['low']:.2%} to {noise['high']:.2%} with "
        figures += f"{confidence:.0%} confidence at any time), log10 e {_evidence(noise['evidence_log10'])}"
        lines.append(Text(figures))
    return [*lines, _fields(noise["fields"])] if noise["fields"] else lines


def _fields(fields: list[Mapping[str, Any]]) -> "RenderableType":
    from rich.text import Text

    table = build_grid("where >only_the_shadow >only_the_champion_again >both standing")
    for field in fields[:FIELDS_SHOWN]:
        table.add_row(
            field["path"] or "the answer",
            *(str(field[name]) for name in ("candidate", "champion", "both")),
            Text("differs above noise", style="red") if field["is_above_noise"] else "",
        )
    return table


def _values(name: str, values: list[Mapping[str, Any]], distance: str) -> "RenderableType":
    from rich.text import Text

    mean = distance.replace(" ", "_")
    table = build_grid(f"{name} >compared >disagree >rate >from >to >{mean} >from >to >log10_e standing")
    for value in values:
        low, high = value["interval"]
        table.add_row(
            value["value"],
            str(value["agree"] + value["disagree"]),
            str(value["disagree"]),
            "–" if value["rate"] is None else f"{value['rate']:.2%}",
            f"{low:.2%}",
            f"{high:.2%}",
            *_mean(value),
            _evidence(value["log10_e"]),
            Text("disagrees more than the others", style="red") if value["stands_out"] else "",
        )
    return table


def _evidence(log10_e: float) -> str:
    return f"{round(log10_e, 1) + 0.0:.1f}"  # never -0.0


def _mean(value: Mapping[str, Any]) -> list[str]:
    """Return the mean distance and its interval; an older program has none."""
    if value.get("mean_distance") is None:
        return ["–"] * 3
    return [f"{figure:.4g}" for figure in (value["mean_distance"], *value["distance_interval"])]


def _mistakes(confusion: list[Mapping[str, Any]]) -> "RenderableType":
    table = build_grid("client_got shadow_said >rows")
    for each in confusion[:10]:
        table.add_row(each["label"], each["shadow_label"], str(each["rows"]))
    return table


def _labels(labels: list[Mapping[str, Any]]) -> "list[RenderableType]":
    """Return what true answers say: who was right how often, and who is better."""
    from rich.text import Text

    table = build_grid(
        "answered >labelled_rows >right >from >to >shadow_right >from >to >log10_e_worse >better"
    )
    for each in labels:
        shares = [_share(each["primary"]), _share(each["shadow"])]
        evidence = (_evidence(each["log10_e_worse"]), _evidence(each["log10_e_better"]))
        table.add_row(each["variant"], str(sum(each["rows"].values())), *shares[0], *shares[1], *evidence)
    told = [Text(f"  beside {each['variant']}: {each['sentence']}") for each in labels]
    return [table, *told]


def _share(share: Mapping[str, Any]) -> tuple[str, str, str]:
    if share["right"] is None:
        return "–", "–", "–"
    low, high = share["interval"]
    return f"{share['right']:.2%}", f"{low:.2%}", f"{high:.2%}"


def _table_of_examples(examples: list[Mapping[str, Any]]) -> "RenderableType":
    takes_labels = any(example.get("differing_rows") for example in examples)
    asked = "request rows " if takes_labels else ""
    table = build_grid(f"example when {asked}method reason >distance slices first_difference")
    for example in examples:
        differences = example["differences"]
        table.add_row(
            example["id"],
            example["ts"][:19],
            *((example["request_id"], _rows(example)) if takes_labels else ()),
            example["method"],
            example["reason"],
            "–" if example["distance"] is None else f"{example['distance']:.3f}",
            " ".join(f"{name}:{value}" for name, value in example["slices"].items()),
            _difference(differences[0]) if differences else "–",
        )
    return table


def _rows(example: Mapping[str, Any]) -> str:
    """Return the numbers of the rows to be labelled."""
    return ",".join(map(str, example.get("differing_rows", ()))) or "–"


def _numbered(example: Mapping[str, Any]) -> str:
    return f": {_rows(example)}" if example.get("differing_rows") else ""


def _difference(difference: Mapping[str, str]) -> str:
    place = difference["path"] or "answer"
    return f"{place}: {difference['primary']} / {difference['shadow']}"


def render_example(example: Mapping[str, Any]) -> "RenderableType":
    """Return one example: who asked, where the answers part, the request, both answers."""
    from rich.console import Group
    from rich.text import Text

    facts = (
        ("request", f"{example['request_id']} at {example['ts']}, table version {example['table_version']}"),
        ("unit", example["unit"] or "–"),
        ("variant", example["variant"]),
        ("shadow", example["shadow"]),
        ("judged by", f"{example['method']}: {example['reason']}, distance {example['distance']}"),
        ("rows", f"{example['rows_disagreeing']} of {example['rows']} differ{_numbered(example)}"),
        ("scores", ", ".join(f"{name} {value:.4g}" for name, value in example["scores"].items()) or "–"),
        ("slices", ", ".join(f"{name}:{value}" for name, value in example["slices"].items()) or "–"),
    )
    parts: list[RenderableType] = [Text(f"example {example['id']}", style="bold")]
    parts += [Text(f"  {name:9} {value}") for name, value in facts]
    if example["omitted"]:
        parts.append(Text(f"  left out: {example['omitted']}", style="yellow"))
    if example["differences"]:
        table = build_grid("where client_got shadow_said")
        for each in example["differences"]:
            table.add_row(each["path"] or "the answer", each["primary"], each["shadow"])
        parts += [Text(""), table]
    parts += _message("request", example["request"])
    parts += _message("the client got", example["response"])
    parts += _message(f"{example['shadow']} said", example["shadow_response"])
    return Group(*parts)


def _message(title: str, message: Mapping[str, Any] | None) -> "list[RenderableType]":
    from rich.text import Text

    if message is None:
        return [Text(f"{title}: did not go along (compare.examples)", style="dim")]
    what = " ".join(
        str(message[name]) for name in ("method", "path", "status", "content_type") if message.get(name)
    )
    body = message.get("body")
    if body is None:
        return [Text(f"{title}: {what}", style="bold"), Text(f"  {_unshown(message)}", style="dim")]
    if message.get("encoding") == "base64":
        what += ", bytes in base64"
    more = " …" if len(body) > SHOWN_CHARACTERS or message.get("truncated") else ""
    return [Text(f"{title}: {what}", style="bold"), Text(f"  {body[:SHOWN_CHARACTERS]}{more}")]


def _unshown(message: Mapping[str, Any]) -> str:
    size = f"{count(message['size'], 'byte')}, " if "size" in message else ""
    if message.get("withheld"):
        return f"{size}free text is not shown (log.content)"
    return f"{size}cannot be redacted" if message.get("redacted") else f"{size}not kept"
