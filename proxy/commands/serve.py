"""``modelproxy serve``: run until told to stop."""

import sys
from pathlib import Path

import click

from proxy.commands.output import CONFIG
from proxy.lasting import lasting

__all__ = ["serve"]


@click.command()
@click.argument("config", type=CONFIG)
def serve(config: Path) -> None:
    """Run the proxy with the configuration in CONFIG.

    The file is watched: a change is checked and takes effect without losing a request; a bad one changes
    nothing and is reported. SIGHUP reloads too. SIGTERM and Ctrl-C finish what is under way and exit 0; the
    second one exits now. SIGUSR2 puts the program that is installed by now in the place of this one.

    \b
    Example:
      modelproxy serve config/modelproxy.yaml
    """
    with lasting():
        from proxy.supervisor import serve as run

    sys.exit(run(config))
