"""``modelproxy validate``: every problem of a configuration at once."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from proxy.commands.output import CONFIG, as_json_option, print_json
from proxy.plural import count

__all__ = ["validate"]


@click.command()
@click.argument("config", type=CONFIG)
@as_json_option
def validate(config: Path, as_json: bool) -> None:
    """Check CONFIG and show every problem, each as FILE:LINE:COLUMN: path: found, expected.

    Exit code 0 if it can be served (warnings do not count), 1 if not.

    \b
    Example:
      modelproxy validate config/modelproxy.yaml
    """
    from proxy.certificates import inspect, named_files, read_files
    from proxy.clock import wall_ns
    from proxy.errors import ConfigError
    from proxy.settings import load_with_source, warnings

    try:
        settings, source = load_with_source(config)
        certificates = inspect(settings, read_files(named_files(settings)), source, now_s=wall_ns() / 1e9)
        if certificates.problems:
            raise ConfigError(certificates.problems)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "file": str(config), "problems": [asdict(p) for p in error.problems]})
        else:
            click.echo(str(error), err=True)
            click.echo(f"{count(len(error.problems), 'problem')}; this file would be refused", err=True)
        sys.exit(1)
    found = (*warnings(settings, source), *certificates.warnings)
    if as_json:
        warned = [asdict(problem) for problem in found]
        print_json({"ok": True, "file": str(config), "problems": [], "warnings": warned})
        return
    for problem in found:
        click.echo(f"warning: {problem}", err=True)
    click.echo(
        f"{config}: ok ({count(len(settings.routes), 'route')}, {count(len(settings.models), 'model')})"
    )
