"""``modelproxy schema``: what an editor needs to complete and check a configuration."""

import click

from proxy.commands.output import print_json

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration.

    \b
    Example (the second line goes to the top of the configuration):
      modelproxy schema > modelproxy.schema.json
      # yaml-language-server: $schema=modelproxy.schema.json
    """
    from proxy.settings import json_schema

    print_json(json_schema())
