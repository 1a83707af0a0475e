"""``modelproxy explain``: where one request goes, and why."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from proxy.commands.output import CONFIG, load_settings, print_json

__all__ = ["explain"]


def _header(
    _ctx: click.Context, _param: click.Parameter, lines: tuple[str, ...]
) -> list[tuple[bytes, bytes]]:
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"expected 'name: value', got {line!r}")
        pairs.append((name.strip().lower().encode(), value.strip().encode()))
    return pairs


def _body(_ctx: click.Context, _param: click.Parameter, text: str | None) -> bytes:
    if text is None:
        return b""
    if not text.startswith("@"):
        return text.encode()
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None


def _path(_ctx: click.Context, _param: click.Parameter, path: str) -> bytes:
    if not path.startswith("/"):
        raise click.BadParameter(f"expected a path that begins with '/', got {path!r}")
    return path.encode()


@click.command()
@click.argument("config", type=CONFIG)
@click.option("--path", "target", required=True, callback=_path, help="Path, with a query if there is one.")
@click.option("--method", default="POST", show_default=True, help="Method of the request.")
@click.option("--host", default="", help="Host of the request; by default that of --header, or none.")
@click.option(
    "--header", "headers", multiple=True, callback=_header, help="'name: value'; any number of times."
)
@click.option("--body", callback=_body, help="Body: text, @FILE, or @- for standard input.")
@click.option("--client-ip", default="127.0.0.1", show_default=True, help="Address the request comes from.")
@click.option("--json", "_as_json", is_flag=True, help="JSON is what it always prints.")
def explain(
    config: Path,
    target: bytes,
    method: str,
    host: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    client_ip: str,
    _as_json: bool,
) -> None:
    """Say where CONFIG sends one request, and why.

    The answer comes from the same functions that decide in the running proxy, so it is what would happen.
    Exit code 1 if no route takes the request.

    \b
    Example:
      modelproxy explain config/modelproxy.yaml --path /v2/models/wine/infer --header 'x-user-id: 42'
    """
    from proxy.routing.explain import NoRoute, Request
    from proxy.routing.explain import explain as explain_request
    from proxy.routing.table import compile_table

    names = [name for name, _ in headers]
    values = [value for _, value in headers]
    if not host and b"host" in names:
        host = values[names.index(b"host")].decode()
    request = Request(target, method.upper().encode(), host.encode(), names, values, body, client_ip.encode())
    explanation = explain_request(compile_table(load_settings(config), 1), request)
    print_json(asdict(explanation))
    if isinstance(explanation, NoRoute):
        sys.exit(1)
