"""The report of a replay for people. It shows what the document says, and adds nothing to it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.commands.output import build_console, build_grid
from proxy.plural import count
from proxy.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from proxy.replay.forecast import Forecast
    from proxy.replay.pacing import Pace

__all__ = ["foretold", "show"]

_Document = Mapping[str, Any]

_FLIPS_SHOWN = 10
_NAMES_SHOWN = 20

_FAULTS = {
    "connect": "no connection: is it the right address, and does a server listen there?",
    "connect_timeout": "no connection within --timeout",
    "timeout": "no whole answer within --timeout",
    "tls": "no TLS there, or a certificate that nobody known vouches for (SSL_CERT_FILE names who does)",
    "protocol": "what came back is no HTTP/1.1",
    "reset": "the connection ended before the answer was whole",
}
"""Fault → what it means to who asked."""

_VERDICTS = {
    "passed": "passed",
    "over": "FAILED: over the limit",
    "doubtful": "passed: over the limit, but the interval is not",
    "nothing compared": "FAILED: nothing was compared",
}


def foretold(ahead: "Forecast", pace: "Pace") -> str:
    """Return a sentence that says how long a replay takes at the least."""
    how = f"speed {pace.speed:g}x" if pace.rate is None else f"{pace.rate:g} a second"
    least = "" if ahead.is_whole else "at least "
    sentence = (
        f"{least}{count(ahead.requests, 'request')} at {how}: {least or 'about '}{_span(ahead.duration_ns)}"
    )
    if ahead.waits_shortened:
        longest = _span(pace.most_wait_ns or 0)
        sentence += (
            f", with {least}{count(ahead.waits_shortened, 'wait')} shortened to {longest} (--max-wait)"
        )
    return sentence


def _span(duration_ns: float) -> str:
    """Return a duration as a person says it: two units at most.

    >>> [_span(seconds * 1e9) for seconds in (0.25, 59, 61, 7260, 200_000)]
    ['0.2s', '59s', '1m 1s', '2h 1m', '2d 7h']
    """
    seconds = duration_ns / 1e9
    if seconds < 10:
        return f"{seconds:.1f}s"
    rest, parts = round(seconds), []
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        whole, rest = divmod(rest, unit)
        if whole:
            parts.append(f"{whole:,}{name}")
        if len(parts) == 2 or (parts and not whole):
            break
    return " ".join(parts)


def show(document: _Document, examples: int = 5) -> None:
    """Print ``document``, with at most ``examples`` disagreements."""
    console = build_console()
    _say_what_was_done(console, document)
    _show_groups(console, document["groups"])
    _show_reasons(console, document["reasons"])
    _show_confusion(console, document["confusion"])
    _show_scores(console, document["scores"])
    _say_what_has_no_meaning(console, document["meanings"])
    _show_left_out(console, document)
    _show_latency(console, document)
    for example in document["examples"][:examples]:
        _show_example(console, example)
    _say_verdict(console, document)


def _say_what_was_done(console: "Console", document: _Document) -> None:
    how, log = document["replay"], document["log"]
    against = "the recorded answers" if how["against"] == "recorded" else how["against"]
    pace = f"{how['rate']:g} a second" if how["rate"] is not None else f"speed {how['speed']}"
    console.print(
        f"{count(document['sent'], 'request')} sent again to {how['to']} and compared with {against} "
        f"({pace}, {how['concurrency']} at once)",
        soft_wrap=True,
    )
    if document["interrupted"]:
        console.print(
            f"interrupted with {count(document['abandoned'], 'request')} under way; later ones were not sent",
            style="bold",
        )
    if document["asked_again"]:
        console.print(
            f"{count(document['asked_again'], 'request')} sent twice: a kept connection was closed without an answer",
            soft_wrap=True,
        )
    told = [f"{log['damaged']:,} damaged"] if log["damaged"] else []
    told += [f"{count(log['unfinished'], 'file')} with half a line at the end"] if log["unfinished"] else []
    told += [f"{log['skipped']:,} passed over"] if log["skipped"] else []
    told += [f"{log['repeated']:,} found in another file too, and taken once"] if log["repeated"] else []
    console.print(
        ", ".join((f"log: {count(log['files'], 'file')}", f"{count(log['records'], 'record')} read", *told)),
        soft_wrap=True,
    )
    for each in document.get("not_found", ()):
        names = ", ".join(map(printable, each["there"][:_NAMES_SHOWN])) or "none"
        names += ", …" if len(each["there"]) > _NAMES_SHOWN else ""
        console.print(
            f"no record is of {each['what']} {printable(each['name'])}; there are: {names}", soft_wrap=True
        )
    for problem in log["problems"]:
        console.print(f"  {printable(problem)}", soft_wrap=True)
    _say_what_was_left_of_time(console, document.get("waits"))
    disagreement = document["disagreement"]
    if disagreement is not None:
        console.print(
            f"disagreement: {_percent(disagreement['share'])}, 95 % interval {_interval(disagreement)}: "
            f"{document['disagree']:,} of {document['compared']:,} compared",
            style="bold",
            soft_wrap=True,
        )
        distance = document["mean_distance"]
        console.print(
            f"mean distance: {distance['mean']:.4g}, 95 % interval {distance['low']:.4g} to {distance['high']:.4g}",
            soft_wrap=True,
        )


def _say_what_was_left_of_time(console: "Console", waits: _Document | None) -> None:
    if waits and waits["shortened"]:
        console.print(
            f"{count(waits['shortened'], 'wait')} shortened: "
            f"{_span(waits['left_out_s'] * 1e9)} of the log's time left out",
            soft_wrap=True,
        )
    if waits and waits["clock_set_back"]:
        console.print(
            f"the log's clock was set back {count(waits['clock_set_back'], 'time')}", soft_wrap=True
        )


def _show_groups(console: "Console", groups: list[_Document]) -> None:
    if not groups:
        return
    table = build_grid("route variant >sent >failed >agree >disagree >uncompared >rows >differing")
    for group in groups:
        table.add_row(
            printable(group["route"]),
            printable(group["variant"]),
            f"{group['sent']:,}",
            f"{sum(group['failed'].values()):,}",
            *(f"{group[key]:,}" for key in ("agree", "disagree")),
            f"{sum(group['uncomparable'].values()) + sum(group['reference_failed'].values()):,}",
            *(f"{group[key]:,}" for key in ("rows", "rows_disagreeing")),
        )
    console.print(table)


def _show_reasons(console: "Console", reasons: list[_Document]) -> None:
    if reasons:
        table = build_grid("why_they_disagree method >count")
        for each in reasons:
            table.add_row(each["reason"], each["method"], f"{each['count']:,}")
        console.print(table)


def _show_confusion(console: "Console", confusion: list[_Document]) -> None:
    """Show which labels became which others, the most frequent first."""
    flips = [each for each in confusion if each["reference"] != each["new"]]
    if flips:
        table = build_grid("label new_label >rows")
        for each in flips[:_FLIPS_SHOWN]:
            table.add_row(printable(each["reference"]), printable(each["new"]), f"{each['rows']:,}")
        console.print(table)
        if len(flips) > _FLIPS_SHOWN:
            console.print(f"and {count(len(flips) - _FLIPS_SHOWN, 'more pair')} of labels")


def _show_scores(console: "Console", scores: _Document) -> None:
    if scores:
        table = build_grid("score >mean >least >most >comparisons")
        for name, each in scores.items():
            table.add_row(name, *(f"{each[key]:.4g}" for key in ("mean", "min", "max")), f"{each['count']:,}")
        console.print(table)


def _say_what_has_no_meaning(console: "Console", meanings: _Document) -> None:
    """Say of how many texts nobody has said how far they are apart in meaning."""
    if meanings["withheld"]:
        console.print(
            f"the embedder was not asked about {count(meanings['withheld'], 'comparison')}: their routes redact "
            "bodies, and live it is told what the redaction leaves",
            soft_wrap=True,
        )
    if meanings["failed"]:
        console.print(
            f"the embedder had no answer about {count(meanings['failed'], 'comparison')}", soft_wrap=True
        )


def _show_left_out(console: "Console", document: _Document) -> None:
    """Show everything that was not compared, and why."""
    from proxy.replay.calls import REASONS

    rows = [
        ("not sent", reason, number, REASONS[reason]) for reason, number in document["not_replayed"].items()
    ]
    rows += [
        ("failed", fault, number, _FAULTS.get(fault, "the model gave no answer"))
        for fault, number in document["failed"].items()
    ]
    rows += [
        ("reference failed", fault, number, _FAULTS.get(fault, "the other model gave no answer"))
        for fault, number in document["reference_failed"].items()
    ]
    rows += [
        ("uncomparable", reason, number, "answered, but there is nothing to judge")
        for reason, number in document["uncomparable"].items()
    ]
    if rows:
        table = build_grid("not_compared why >count")
        table.add_column("")
        for kind, reason, number, meaning in rows:
            table.add_row(kind, reason, f"{number:,}", meaning)
        console.print(table)


def _show_latency(console: "Console", document: _Document) -> None:
    latency, late = document["latency"], document["late_ms"]
    if not latency["new_ms"]:
        return
    table = build_grid("milliseconds >p50 >p90 >p95 >p99")
    table.add_row("new model", *(f"{value:,.1f}" for value in latency["new_ms"].values()))
    table.add_row("reference", *(f"{value:,.1f}" for value in latency["reference_ms"].values()))
    table.add_row("ratio", *("" if value is None else f"{value:.2f}" for value in latency["ratio"].values()))
    if document["replay"]["rate"] is not None or document["replay"]["speed"] != "max":
        table.add_row("sent late by", *(f"{late[name]:,.1f}" for name in ("p50", "p90", "p95", "p99")))
    console.print(table)


def _show_example(console: "Console", example: _Document) -> None:
    distance = "" if example["distance"] is None else f", distance {example['distance']:.3g}"
    console.print(
        f"{printable(example['route'])}/{printable(example['variant'])} {printable(example['request_id'])} "
        f"at {example['ts']}: "
        f"{example['reason']} ({example['method']}{distance}), "
        f"{example['rows_disagreeing']:,} of {count(example['rows'], 'row')}",
        soft_wrap=True,
    )
    for each in example["differences"]:
        place = printable(each["path"]) or "(whole)"
        console.print(
            f"    {place}: {printable(each['reference'])} → {printable(each['new'])}", soft_wrap=True
        )
    if example.get("differences_hidden"):
        console.print(
            f"    {count(example['differences_hidden'], 'place')}, not shown: the route redacts its bodies"
        )


def _say_verdict(console: "Console", document: _Document) -> None:
    limit = document["limit"]
    if limit is None:
        if not document["compared"]:
            console.print("nothing was compared", style="bold")
        return
    wrong, most, found = limit["wrong"], _percent(limit["share"]), ""
    if wrong is not None:
        most, share = _told_apart(limit["share"], wrong["share"])
        found = f": {share} went wrong, 95 % interval {_interval(wrong)}"
    console.print(f"limit {most}{found}: {_VERDICTS[limit['verdict']]}", style="bold", soft_wrap=True)


def _told_apart(limit: float, share: float) -> tuple[str, str]:
    """Return both as percents, with more digits where what is over the limit would read as if it were at it."""
    for digits in range(3, 10):
        told = _percent(limit, digits), _percent(share, digits)
        if told[0] != told[1]:
            break
    return told


def _percent(share: float, digits: int = 3) -> str:
    return f"{share * 100:.{digits}g} %"


def _interval(found: _Document) -> str:
    return f"{found['low'] * 100:.3g} to {found['high'] * 100:.3g} %"
