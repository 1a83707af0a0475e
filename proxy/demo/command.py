"""``modelproxy demo`` on the command line."""

import sys

import click

__all__ = ["demo"]


@click.command("demo")
@click.option(
    "--duration",
    type=click.FloatRange(9, 3600),
    default=21,
    show_default=True,
    help="Seconds of the first part; the rollouts take as long as their evidence needs, about 30 s.",
)
@click.option("--quick", is_flag=True, help="9 seconds of the first part instead.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
def demo(duration: float, quick: bool, plain: bool, as_json: bool, keep: bool) -> None:
    """Show the whole road on real models and real data, and check every number.

    Trains six models, serves them, puts the proxy in front and drives thousands of requests. First a canary is steered
    by hand; then three builds come as rollouts: one is rolled back by itself, one never meets a client, one is promoted
    by itself. What the proxy claims is held against what clients and models counted. Exit code 0 only if all of it
    agrees.
    """
    # Late: numpy, rich and aiohttp's client are of no use to the other commands.
    from proxy.demo.run import main

    sys.exit(main(duration_s=duration, quick=quick, keep=keep, plain=plain, as_json=as_json))
