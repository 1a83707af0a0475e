"""``modelproxy report``: a rollout, or a comparison, written up for people; and decisions made again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy import __version__
from proxy.commands.asking import admin_option
from proxy.commands.evidence import Found, ask_for_evidence, list_stored, read_evidence
from proxy.commands.output import as_json_option, build_console, build_grid, fail, print_json
from proxy.plural import count
from proxy.printable import printable

if TYPE_CHECKING:
    from proxy.report.verify import Check

__all__ = ["report"]


@click.command()
@click.argument("route", required=False)
@admin_option
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Read a proxy's state_dir instead of asking it; also for rollouts that are over.",
)
@click.option("--rollout", help="Id of an older rollout, or its beginning; with --state-dir.")
@click.option("--list", "as_list", is_flag=True, help="List the rollouts that are kept; with --state-dir.")
@click.option("--html", metavar="FILE", help="Write one HTML file with plots; - for standard output.")
@click.option("--verify", is_flag=True, help="Make every decision again; exit code 1 when one differs.")
@as_json_option
def report(
    route: str | None,
    admin: str,
    state_dir: Path | None,
    rollout: str | None,
    as_list: bool,
    html: str | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Write a report about the rollout of ROUTE, or about its variants with fixed weights.

    First the decision in one sentence, then what happened when, the evidence, plots (as tables in Markdown), what
    was not tested, and how to check it. Markdown on standard output unless --html says otherwise.

    Exit code 1 if there is nothing to report on, or --verify finds a decision that comes out otherwise.

    \b
    Examples:
      modelproxy report wine
      modelproxy report wine --html wine.html
      modelproxy report --state-dir /var/lib/modelproxy --list
      modelproxy report wine --state-dir /var/lib/modelproxy --verify
    """
    if state_dir is None and (as_list or rollout is not None):
        raise click.UsageError(
            "--list and --rollout need --state-dir: a running proxy tells of the present rollout only"
        )
    if as_list and state_dir is not None:
        _list(state_dir, route, as_json)
        return
    if route is None:
        raise click.UsageError("Missing argument 'ROUTE'.")
    if html is not None and (verify or as_json):
        raise click.UsageError("--html goes with neither --json nor --verify")
    found = ask_for_evidence(admin, route) if state_dir is None else read_evidence(state_dir, route, rollout)
    if verify:
        _verify(found, as_json)
    elif as_json:
        print_json({"route": route, "evidence": found.document})
    else:
        _write(found, html)


def _list(state_dir: Path, route: str | None, as_json: bool) -> None:
    from proxy.report.words import when

    kept = list_stored(state_dir, route)
    if as_json:
        print_json([each._asdict() for each in kept])
        return
    table = build_grid("rollout route variant first_counted last_counted")
    for each in kept:
        variant = each.variant or "(fixed weights)"
        table.add_row(
            each.rollout, printable(each.route), printable(variant), when(each.first_ns), when(each.last_ns)
        )
    build_console().print(table)


def _write(found: Found, html: str | None) -> None:
    from proxy.report.compile import compile_report
    from proxy.report.documents import DocumentError
    from proxy.report.facts import deciding_digest, gather
    from proxy.report.html import render_html
    from proxy.report.markdown import render_markdown

    try:
        digest = deciding_digest(found.document)
        data = found.snapshot_of(digest) if digest else None
        facts = gather(found.route, found.document, {digest: data} if data else {})
        command = f"modelproxy report {shlex.quote(found.route)} {found.place} --verify"
        page = compile_report(facts, __version__, command)
    except DocumentError as error:
        raise fail(f"{found.route}: {error}") from None
    if html is None:
        click.echo(render_markdown(page).encode(), nl=False)
    elif html == "-":
        click.echo(render_html(page).encode(), nl=False)
    else:
        try:
            Path(html).write_text(render_html(page), encoding="utf-8")
        except OSError as error:
            raise fail(f"{html}: {error.strerror}") from None
        click.echo(printable(html), err=True)


def _verify(found: Found, as_json: bool) -> None:
    from proxy.report.documents import DocumentError, Rollout
    from proxy.report.verify import verify

    try:
        read = Rollout.read(found.document)
    except DocumentError as error:
        raise fail(f"{found.route}: {error}") from None
    said = [each for each in read.decisions if each.rollout == read.rollout]
    history = [each for each in read.history if each.rollout == read.rollout]
    checks = verify(said, history, found.snapshot_of)
    bad = [each for each in checks if not each.outcome.is_good]
    if as_json:
        print_json(
            {
                "route": found.route,
                "rollout": read.rollout,
                "good": not bad,
                "checks": list(map(_row, checks)),
            }
        )
    else:
        _show(checks, len(bad))
    if bad:
        raise click.exceptions.Exit(1)


def _row(check: "Check") -> Mapping[str, Any]:
    return {
        "number": check.number,
        "evidence": check.digest,
        "outcome": str(check.outcome),
        "sentence": check.sentence,
    }


def _show(checks: "list[Check]", bad: int) -> None:
    table = build_grid(">number evidence outcome what")
    for each in checks:
        style = None if each.outcome.is_good else "red"
        table.add_row(
            str(each.number or "–"),
            printable(each.digest[:16]),
            str(each.outcome),
            printable(each.sentence),
            style=style,
        )
    build_console().print(table)
    if not checks:
        click.echo("there is no decision to make again")
    elif bad:
        click.echo(f"{bad} of {count(len(checks), 'decision')} cannot be made again as they stand", err=True)
    else:
        click.echo(f"{count(len(checks), 'decision')} come out the same, byte for byte")
