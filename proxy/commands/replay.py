"""``modelproxy replay``: logged traffic against another model, before that model meets today's."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.commands.ending import INTERRUPTED, interruptible, reporting, say
from proxy.commands.output import CONFIG, as_json_option, fail, load_settings, print_json
from proxy.commands.replay_options import (
    DEFAULT_WAIT_NS,
    Wait,
    parsed_by,
    read_changes,
    read_headers,
    read_longest_wait,
    read_moment,
    read_pattern,
    read_reference,
    read_seconds,
    read_share,
    read_speed,
    read_url,
)

if TYPE_CHECKING:
    from proxy.commands.replay_lines import LinesFile
    from proxy.records.reading import PayloadReader, Reading
    from proxy.replay.judging import Outcome
    from proxy.replay.pacing import Pace, Schedule
    from proxy.replay.preparing import Preparer
    from proxy.replay.results import Results
    from proxy.replay.rules import RouteRules
    from proxy.replay.run import Replay
    from proxy.settings.embedding import Embedder as EmbedderSettings

__all__ = ["replay"]

_DEFAULT_COPY_BYTES = 1 << 20
"""``limits.copy`` where there is no configuration."""


@dataclass(frozen=True, slots=True)
class _Options:
    """What was asked for."""

    target: str
    reference: str | None
    preparer: "Preparer"
    embedder: "EmbedderSettings | None"
    pace: "Pace"
    concurrency: int
    limit: int | None
    timeout_s: float
    cap_bytes: int
    headers: Mapping[str, str]
    out: Path | None


@click.command()
@click.option(
    "--log",
    "places",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A payload log: a file, or a directory with all below; any number of times.",
)
@click.option(
    "--to",
    "target",
    required=True,
    callback=parsed_by(read_url),
    metavar="URL",
    help="The model under test; a path replaces the matched prefix, as in the configuration.",
)
@click.option(
    "--against",
    "reference",
    default="recorded",
    show_default=True,
    callback=parsed_by(read_reference),
    metavar="recorded|URL",
    help="What its answers are compared with: those of the log, or those that another model gives now.",
)
@click.option(
    "--config",
    type=CONFIG,
    help="Rules of comparison and matched paths of its routes; other records are left out.",
)
@click.option(
    "--match",
    metavar="PATH",
    callback=parsed_by(read_pattern),
    help="Without --config: the path that a route would "
    "match, such as /v2/models/wine/*, where the URL has a path that replaces it.",
)
@click.option("--route", "routes", multiple=True, help="Only records of this route; any number of times.")
@click.option("--variant", "variants", multiple=True, help="Only records of this assigned variant.")
@click.option(
    "--since",
    callback=parsed_by(read_moment),
    metavar="TIME|AGO",
    help="Only requests that came then or later: 2026-11-21T18:00:00Z, or 2h ago.",
)
@click.option(
    "--until", callback=parsed_by(read_moment), metavar="TIME|AGO", help="Only requests that came before."
)
@click.option("--limit", type=click.IntRange(1), help="Send at most so many requests.")
@click.option(
    "--speed",
    default="max",
    show_default=True,
    callback=parsed_by(read_speed),
    metavar="1x|10x|max",
    help="The log's gaps, divided by this; max: as fast as --concurrency allows.",
)
@click.option(
    "--max-wait",
    "most_wait",
    callback=parsed_by(read_longest_wait),
    metavar="DURATION|none",
    help="With --speed: the longest wait between two requests; longer ones are shortened to it, and counted. "
    "Default: 1m.",
)
@click.option("--rate", type=click.FloatRange(0, 1e6, min_open=True), help="Requests a second instead.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Requests under way at once, at most; further ones are late, and the report says by how much.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default="30s",
    show_default=True,
    callback=parsed_by(read_seconds),
    metavar="DURATION",
    help="For each answer, to its last byte.",
)
@click.option(
    "--as", "method", metavar="METHOD", help="Compare by this method, whatever the configuration says."
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of compare, such as rtol=1e-3; any number of times.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=read_headers,
    help="'name: value' for every request, such as credentials, which no log has.",
)
@click.option(
    "--send-logged",
    "kept_headers",
    multiple=True,
    metavar="HEADER",
    help="Send this header as the log has it (log.headers).",
)
@click.option(
    "--despite",
    type=click.Choice(["query", "redacted"]),
    multiple=True,
    help="Replay also requests whose record lacks the query, or something that was redacted.",
)
@click.option(
    "--fail-over",
    "limit_share",
    callback=parsed_by(read_share),
    metavar="PERCENT",
    help="Exit with 1 when more than this share of answers differs or fails; 2 is 2%.",
)
@click.option(
    "--confident", is_flag=True, help="With --fail-over: only when the whole 95 % interval is over it."
)
@click.option(
    "--examples", type=click.IntRange(0, 100), default=5, show_default=True, help="Disagreements shown."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write a line of JSON for each request."
)
@as_json_option
def replay(as_json: bool, **given: Any) -> None:
    """Send the requests of a payload log to another model, and compare its answers as a shadow's are compared.

    So a model meets last week's traffic before it meets today's. Every request carries 'x-modelproxy-shadow: 1'. Exit
    code 1 when nothing was compared, or more than --fail-over went wrong; 130 when it was interrupted, after the report
    of what there was.

    \b
    Example:
      modelproxy replay --log state/payloads --to http://127.0.0.1:9003 --config modelproxy.yaml --fail-over 2%
    """
    with interruptible("interrupted before anything was sent"):
        _replay_as(given, as_json=as_json)


def _replay_as(given: Mapping[str, Any], *, as_json: bool) -> None:
    from proxy.commands.replay_lines import LinesFile
    from proxy.records.files import LogError
    from proxy.records.reading import PayloadReader
    from proxy.records.selection import Selection
    from proxy.replay.document import Limit, build_document
    from proxy.replay.results import Results

    _check(given)
    options = _options(given)
    selection = Selection(
        frozenset(given["routes"]), frozenset(given["variants"]), given["since"], given["until"]
    )
    limit = None if given["limit_share"] is None else Limit(given["limit_share"], given["confident"])
    results = Results(given["examples"])
    try:
        reader = PayloadReader(given["places"], selection)
        if options.pace.is_timed:
            _foretell(options, PayloadReader(given["places"], selection))
        lines = LinesFile(options.out)
        is_whole, schedule = _replay(options, reader, results, lines)
    except LogError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"the replay cannot go on: {(error.strerror or str(error)).lower()}") from None
    document = {"replay": _described(given, options), "interrupted": not is_whole}
    document["not_found"] = _not_found(given, reader.reading) if is_whole else []
    document |= build_document(results, reader.reading, limit, schedule)
    code = _exit_code(document, is_whole=is_whole)
    if lines.problem:
        code = 1
        say(lines.problem)
    # The event loop has given the signals back.
    with interruptible("interrupted before the report was written"), reporting():
        if as_json:
            print_json(document)
        else:
            from proxy.commands.replay_page import show

            show(document, given["examples"])
    sys.exit(code)


def _check(given: Mapping[str, Any]) -> None:
    if given["confident"] and given["limit_share"] is None:
        raise click.UsageError("--confident is about --fail-over: give --fail-over PERCENT too")
    if given["most_wait"] is not None and (given["speed"] is None or given["rate"] is not None):
        raise click.UsageError("--max-wait is about --speed: give --speed 1x too, without --rate")


def _not_found(given: Mapping[str, Any], reading: "Reading") -> list[dict[str, Any]]:
    """Return the names that were asked for and are in no record, with those that are."""
    there = {
        "route": {route for route, _ in reading.names},
        "variant": {variant for _, variant in reading.names},
    }
    return [
        {"what": what, "name": name, "there": sorted(names)}
        for what, names in there.items()
        for name in given[f"{what}s"]
        if name not in names
    ]


def _foretell(options: _Options, reader: "PayloadReader") -> None:
    """Say how long it will take."""
    from proxy.commands.replay_page import foretold
    from proxy.replay.forecast import forecast

    ahead = forecast(reader, options.preparer, options.pace, options.limit)
    say(foretold(ahead, options.pace))


def _exit_code(document: Mapping[str, Any], *, is_whole: bool) -> int:
    if not is_whole:
        return INTERRUPTED
    limit = document["limit"]
    if limit is not None:
        return 0 if limit["verdict"] in ("passed", "doubtful") else 1
    return 0 if document["compared"] else 1


def _replay(
    options: _Options, reader: "PayloadReader", results: "Results", lines: "LinesFile"
) -> "tuple[bool, Schedule]":
    """Run it with a progress bar where somebody can see it; False if it was interrupted, and how it was paced."""
    with closing(lines), _progress(reader, options.limit) as advance:

        def take(outcome: "Outcome", shows_values: bool) -> None:
            from proxy.replay.document import build_line

            results.add(outcome, shows_values=shows_values)
            if lines.is_wanted:
                lines.write(build_line(outcome, shows_values=shows_values))
            advance(results)

        return asyncio.run(_run(options, reader, results, lines, take))


async def _run(
    options: _Options,
    reader: "PayloadReader",
    results: "Results",
    lines: "LinesFile",
    take: "Callable[[Outcome, bool], None]",
) -> "tuple[bool, Schedule]":
    from proxy.embedder import Embedder
    from proxy.replay.run import Replay
    from proxy.replay.target import Target

    async with AsyncExitStack() as stack:

        async def target(url: str) -> Target:
            made = Target(
                url,
                timeout_s=options.timeout_s,
                connections=options.concurrency,
                cap_bytes=options.cap_bytes,
                headers=options.headers,
            )
            stack.push_async_callback(made.close)
            return made

        embedder = None
        if options.embedder is not None:
            embedder = Embedder.of(options.embedder)
            stack.push_async_callback(embedder.close)
        run = Replay(
            reader,
            options.preparer,
            await target(options.target),
            None if options.reference is None else await target(options.reference),
            pace=options.pace,
            concurrency=options.concurrency,
            limit=options.limit,
            embedder=embedder,
            on_refused=results.refuse,
            on_outcome=take,
        )
        _stop_on_signals(reader, run)
        lines.on_problem = run.stop
        try:
            is_whole = await run.run()
        finally:
            reader.stop()  # the thread that reads ahead is waited for
        results.abandoned = run.abandoned
        return is_whole, run.schedule


def _stop_on_signals(reader: "PayloadReader", run: "Replay") -> None:
    """Stop sending at the first signal, so that there is a report; end at once at the second."""
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if is_stopping:
            say("interrupted twice: no report")
            os._exit(INTERRUPTED)
        is_stopping = True
        reader.stop()
        run.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _options(given: Mapping[str, Any]) -> _Options:
    from proxy.replay.pacing import Pace
    from proxy.replay.preparing import Preparer

    rules, cap_bytes, embedder = _rules(given)
    return _Options(
        target=given["target"],
        reference=given["reference"],
        preparer=Preparer(
            rules,
            is_recorded=given["reference"] is None,
            replaces_paths=any(map(_has_path, (given["target"], given["reference"]))),
            despite=given["despite"],
            kept_headers=tuple(name.lower() for name in given["kept_headers"]),
        ),
        pace=Pace(given["speed"], given["rate"], (given["most_wait"] or Wait(DEFAULT_WAIT_NS)).most_ns),
        concurrency=given["concurrency"],
        limit=given["limit"],
        timeout_s=given["timeout_s"],
        cap_bytes=cap_bytes,
        embedder=embedder,
        headers=given["headers"],
        out=given["out"],
    )


def _rules(given: Mapping[str, Any]) -> "tuple[RouteRules, int, EmbedderSettings | None]":
    """Return the rule of each route, how much of an answer is read, and who is asked for the meaning of texts."""
    from proxy.replay.rules import compile_rules, one_rule

    changes = read_changes(given["method"], given["rules"])
    try:
        if given["config"] is not None:
            settings = load_settings(given["config"])
            _check_routes(given["routes"], [route.name for route in settings.routes])
            return compile_rules(settings, changes), settings.limits.copy_, settings.embedder
        if given["match"] is None and any(map(_has_path, (given["target"], given["reference"]))):
            raise click.UsageError(
                "a path in the URL replaces what a route matched of the recorded path: "
                "give --config FILE, or --match PATH"
            )
        return one_rule(changes, given["match"]), _DEFAULT_COPY_BYTES, None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--as' / '--rule'") from None


def _check_routes(asked: Sequence[str], named: Sequence[str]) -> None:
    for name in asked:
        if name not in named:
            raise click.BadParameter(
                f"{name!r} is no route of the configuration; there are: {', '.join(named)}",
                param_hint="'--route'",
            )


def _has_path(url: str | None) -> bool:
    return url is not None and "/" in url.partition("://")[2].rstrip("/")


def _described(given: Mapping[str, Any], options: _Options) -> dict[str, Any]:
    """Return how it was replayed."""
    return {
        "to": options.target,
        "against": options.reference or "recorded",
        "speed": "max" if options.pace.speed is None else f"{options.pace.speed:g}x",
        "rate": options.pace.rate,
        "concurrency": options.concurrency,
        "config": None if given["config"] is None else str(given["config"]),
    }


@contextmanager
def _progress(reader: "PayloadReader", limit: int | None) -> "Iterator[Callable[[Results], None]]":
    """Yield what moves the progress bar on; without a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _results: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, reading = bar.add_task("replay", total=None, said=""), reader.reading

        def advance(results: "Results") -> None:
            total = results.total()
            said = f"{total.sent:,} sent, {total.disagree:,} disagree, {total.failed.total():,} failed"
            # Read ahead: as many records as there are bytes to those read so far.
            expected = reading.records * reading.total_bytes / max(reading.read_bytes, 1)
            if limit is not None:
                expected = min(expected, limit + results.refused.total())
            bar.update(task, total=expected, completed=total.sent + results.refused.total(), said=said)

        yield advance
