"""``modelproxy promote``, ``abort``, ``pause`` and ``resume``: a person's word about a rollout."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from proxy.commands.asking import admin_option, ask, refuse, token_option
from proxy.commands.output import as_json_option, fail, print_json
from proxy.printable import printable

__all__ = ["abort", "pause", "promote", "resume"]

TIMEOUT_S = 35.0
"""The admin address waits 30 seconds for whoever does it."""


def _command(verb: str, summary: str, details: str) -> Callable[..., Any]:
    """Return the command ``verb``; all four take the same arguments."""

    def run(route: str, admin: str, token: str | None, reason: str | None, as_json: bool) -> None:
        _steer(verb, route, admin, token, reason, as_json)

    run.__doc__ = f"""{summary}

    {details} Takes effect at once, in every worker; the journal says who did it, and why.

    Exit code 1 if the proxy cannot be reached, does not know the route, or the rollout does not allow it.

    \b
    Example:
      modelproxy {verb} wine --reason "seen in the dashboard"
    """
    options = (
        click.argument("route"),
        admin_option,
        token_option,
        click.option(
            "--reason", help="Why, for the journal and the report; at most 500 printable characters."
        ),
        as_json_option,
    )
    for option in reversed(options):
        run = option(run)
    return click.command(verb)(run)


promote = _command(
    "promote",
    "Give the rollout's canary everything now, whatever the evidence.",
    "The canary gets 100 % less the holdback and the other variants' weights.",
)
abort = _command(
    "abort",
    "Take the rollout's canary back to 0 % now.",
    "Nobody is left on the canary, and it does not come back by itself.",
)
pause = _command(
    "pause",
    "Keep the rollout's canary at its weight until it is resumed.",
    "The engine goes on judging and decides nothing; a harmful canary stays too.",
)
resume = _command(
    "resume",
    "Let the engine decide about the rollout again.",
    "It goes on from where the rollout stands.",
)


def _steer(verb: str, route: str, admin: str, token: str | None, reason: str | None, as_json: bool) -> None:
    path = f"/api/v1/routes/{quote(route, safe='')}/{verb}"
    document = {} if reason is None else {"reason": reason}
    status, answer = ask(admin, path, timeout_s=TIMEOUT_S, method="POST", document=document, token=token)
    if not isinstance(answer, dict):
        raise refuse(admin, status)
    if as_json:
        print_json(answer)
        if status != 200:
            raise click.exceptions.Exit(1)
        return
    if status != 200:
        hint = "; give it with --token or MODELPROXY_ADMIN_TOKEN" if status == 401 else ""
        raise fail(f"{route}: {printable(str(answer.get('error', f'refused with {status}')))}{hint}")
    for line in answer.get("changes") or (f"nothing changes; version {answer.get('version')} stays",):
        click.echo(printable(f"{route}: {line}"))
    for line in answer.get("warnings") or ():
        click.echo(printable(f"{route}: warning: {line}"), err=True)
