"""``modelproxy schema``: what an editor needs to check a configuration, and a reader to check payload records."""

import click

from proxy.commands.output import print_json

__all__ = ["schema"]


@click.command()
@click.option("--record", "of_record", is_flag=True, help="That of one record of the payload log instead.")
def schema(of_record: bool) -> None:
    """Print the JSON Schema of the configuration, or of a payload record.

    \b
    Example (the second line goes to the top of the configuration):
      modelproxy schema > modelproxy.schema.json
      # yaml-language-server: $schema=modelproxy.schema.json
    """
    if of_record:
        from proxy.records.schema import json_schema as record_schema

        print_json(record_schema())
    else:
        from proxy.settings import json_schema

        print_json(json_schema())
