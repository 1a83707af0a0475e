"""The command line: ``modelproxy COMMAND``. Here are the names; ``proxy/commands/`` holds what they do.

Exit codes: 0 done, 1 refused or failed, also when standard output is closed or full, 2 wrong usage. Text for people by
default, ``--json`` for machines.
"""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Literal, TextIO

import click

from proxy import __version__

__all__ = ["main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("proxy.commands.serve", "Run the proxy."),
    "validate": ("proxy.commands.validate", "Check a configuration; show every problem."),
    "schema": ("proxy.commands.schema", "Print the JSON Schema of the configuration."),
    "explain": ("proxy.commands.explain", "Say where one request goes, and why."),
    "plan": ("proxy.commands.plan", "Say who moves when one configuration replaces another."),
    "status": ("proxy.commands.status", "Show what a running proxy does."),
    "disagreements": (
        "proxy.commands.disagreements",
        "Show what shadows disagree about, and on which inputs.",
    ),
    "promote": ("proxy.commands.steer", "Give a rollout's canary everything now."),
    "abort": ("proxy.commands.steer", "Take a rollout's canary back to 0 % now."),
    "pause": ("proxy.commands.steer", "Keep a rollout's canary at its weight."),
    "resume": ("proxy.commands.steer", "Let the engine decide about a rollout again."),
    "report": ("proxy.commands.report", "Write up a rollout: decision, evidence, what was not tested."),
    "plan-experiment": (
        "proxy.commands.plan_experiment",
        "Say how long a rollout takes, and who meets a bad canary.",
    ),
    "replay": (
        "proxy.commands.replay",
        "Send logged requests to another model, and compare its answers.",
    ),
    "unit-keys": ("proxy.commands.unit_keys", "Show, replace and delete the keys of the hashes of units."),
    "query": ("proxy.commands.query", "Ask payload records a question in SQL."),
    "demo": ("proxy.demo.command", "Real models, real data, the whole story in about a minute."),
}
"""Name → (module, line in the help). The command stands in its module under its own name."""

EXAMPLES = """\b
Examples:
  modelproxy demo
  modelproxy validate config/modelproxy.yaml
  modelproxy serve config/modelproxy.yaml
"""


class LazyGroup(click.Group):
    """A group that imports a command when it runs, and none to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names in the order of a user's day, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown name with the nearest known one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command, and see that what it printed is written; where it cannot be, say so without a trace."""
        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            # What a character set lacks is spelt out, not raised; a table has a sign for it.
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return super().main(*args, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:
            ending = import_module("proxy.commands.ending")
            if not ending.is_of_output(error):
                raise
            sys.exit(ending.end_without_output(error))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _open_what_is_closed() -> None:
    """Put something in the place of each standard stream that was closed before the program began.

    Else the next file or connection would get its number, and what is printed would go there. Nothing comes in, nobody
    reads what goes wrong, and what is printed goes into a pipe whose other end is closed: that is what it comes to.
    """
    if sys.stdin is None:
        sys.stdin = _stream(os.open(os.devnull, os.O_RDONLY), "r")
    if sys.stdout is None:
        reading, writing = os.pipe()
        os.close(reading)
        sys.stdout = _stream(os.dup(writing), "w")
        os.close(writing)
    if sys.stderr is None:
        sys.stderr = _stream(os.open(os.devnull, os.O_WRONLY), "w")


def _stream(number: int, mode: Literal["r", "w"]) -> TextIO:
    os.set_inheritable(number, True)  # as standard streams are
    return open(number, mode, closefd=False)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(__version__, "-V", "--version", prog_name="modelproxy", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, /) -> None:
    """A model-serving proxy sidecar: sticky champion, challenger and canary routing, shadow traffic, and
    records of where models disagree.

    'modelproxy COMMAND --help' says more about a command.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
