"""``modelproxy unit-keys``: the keys of the hashes that stand for units in records."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from proxy.commands.output import (
    CONFIG,
    as_json_option,
    build_console,
    build_grid,
    fail,
    load_settings,
    print_json,
)

if TYPE_CHECKING:
    from proxy.unit_keys import HeldKey

__all__ = ["unit_keys"]

CONFIGURED = "configured"
_MAX_UNIT_BYTES = 64 * 1024


class Key(NamedTuple):
    """A key to be shown: never itself."""

    id: str
    since: str
    """When it began, RFC 3339; or that the configuration gives it."""
    secret: bytes


@click.command(name="unit-keys")
@click.argument("config", type=CONFIG)
@click.option("--rotate", is_flag=True, help="Make a new key, which counts from now on.")
@click.option("--forget", is_flag=True, help="Delete every key but the one in force.")
@click.option(
    "--hash",
    "unit",
    metavar="UNIT",
    help="Print what stands for UNIT in records, under each key; - reads it from standard input.",
)
@as_json_option
def unit_keys(config: Path, rotate: bool, forget: bool, unit: str | None, as_json: bool) -> None:
    """Show, replace and delete the keys of the hashes that stand for units in records.

    Each record names its key (unit_key_id). A new key counts within seconds, without a restart; what was written before
    cannot be joined with what is written from then on, but by who holds both keys. With --forget the earlier ones are
    gone for good: nobody can tell any more who their hashes stood for.

    \b
    Examples:
      modelproxy unit-keys modelproxy.yaml
      modelproxy unit-keys modelproxy.yaml --rotate
      printf ada@example.com | modelproxy unit-keys modelproxy.yaml --hash -
    """
    from proxy.clock import wall_ns
    from proxy.unit_keys import forget as delete
    from proxy.unit_keys import rotate as make

    settings = load_settings(config)
    state_dir, configured = settings.state_dir, settings.payload_log.unit_key
    if configured is not None and (rotate or forget):
        raise fail("payload_log.unit_key gives the key: write another one there and restart")
    try:
        if rotate:
            make(state_dir, wall_ns())
        keys = _held(state_dir) if configured is None else [_own(configured.get_secret_value())]
        gone = len(delete(state_dir, wall_ns())) if forget else 0
    except OSError as error:
        raise fail(f"cannot read or write the keys in {state_dir}: {error.strerror}") from None
    _print(keys[gone:], keys[:gone], None if unit is None else _given(unit), as_json=as_json)


def _own(secret: str) -> Key:
    from proxy.privacy.actions import key_id

    return Key(key_id(secret.encode()), CONFIGURED, secret.encode())


def _held(state_dir: Path) -> list[Key]:
    from proxy.unit_keys import held_keys

    return [_shown(held) for held in held_keys(state_dir)]


def _shown(held: "HeldKey") -> Key:
    from datetime import UTC, datetime

    from proxy.privacy.actions import key_id
    from proxy.unit_keys import read_key

    secret = read_key(held)
    since = datetime.fromtimestamp(held.began_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Key(key_id(secret), since, secret)


def _given(unit: str) -> bytes:
    return sys.stdin.buffer.read(_MAX_UNIT_BYTES).rstrip(b"\r\n") if unit == "-" else unit.encode()


def _print(keys: list[Key], forgotten: list[Key], unit: bytes | None, *, as_json: bool) -> None:
    from proxy.privacy.actions import keyed_hash

    documents: list[dict[str, Any]] = [
        {"unit_key_id": key.id, "since": key.since, "in_force": key is keys[-1]} for key in keys
    ]
    for key, document in zip(keys, documents, strict=True):
        if unit is not None:
            document["unit"] = keyed_hash(key.secret, unit)
    gone = [key.id for key in forgotten]
    if as_json:
        print_json({"keys": documents, "forgotten": gone})
        return
    if not keys:
        click.echo("no key yet: the proxy makes one when it first runs")
        return
    grid = build_grid("unit_key_id since in_force" + (" unit" if unit is not None else ""))
    for document in documents:
        shown = {**document, "in_force": "yes" if document["in_force"] else ""}
        grid.add_row(*map(str, shown.values()))
    build_console().print(grid)
    if gone:
        click.echo(f"forgotten: {', '.join(gone)}")
