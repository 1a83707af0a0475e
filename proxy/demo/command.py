"""``modelproxy demo`` on the command line."""

import sys

import click

__all__ = ["demo"]


@click.command("demo")
@click.option(
    "--duration",
    type=click.FloatRange(9, 3600),
    default=60,
    show_default=True,
    help="Seconds of traffic; start and end take about 10 s more.",
)
@click.option("--quick", is_flag=True, help="About 9 seconds of traffic instead.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
def demo(duration: float, quick: bool, plain: bool, as_json: bool, keep: bool) -> None:
    """Show the whole road on real models and real data, and check every number.

    Trains four models, serves them, puts the proxy in front, drives thousands of requests from hundreds of
    users, edits the configuration under traffic, and holds what the proxy claims against what clients and
    models counted. Exit code 0 only if all of it agrees.
    """
    # Late: numpy, rich and aiohttp's client are of no use to the other commands.
    from proxy.demo.run import main

    sys.exit(main(duration_s=duration, quick=quick, keep=keep, plain=plain, as_json=as_json))
