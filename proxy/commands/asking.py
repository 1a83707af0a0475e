"""Asking a running proxy's admin address: one request, and a sentence for whatever comes instead of an answer."""

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import click

from proxy.commands.output import fail

__all__ = ["DEFAULT_ADMIN", "MAX_ANSWER_BYTES", "admin_option", "ask", "refuse", "token_option"]

DEFAULT_ADMIN = "http://127.0.0.1:9090"
MAX_ANSWER_BYTES = 64 << 20
"""Whatever answers may not be a proxy, and may never end. A thousand routes have some 10 MiB."""

admin_option = click.option(
    "--admin",
    envvar="MODELPROXY_ADMIN",
    default=DEFAULT_ADMIN,
    show_default=True,
    show_envvar=True,
    help="Admin address of the proxy.",
)

token_option = click.option(
    "--token",
    envvar="MODELPROXY_ADMIN_TOKEN",
    show_envvar=True,
    help="The proxy's admin_token, if it has one. Others on this machine can read an option, and not the variable.",
)


def ask(
    admin: str,
    path: str,
    *,
    timeout_s: float,
    method: str = "GET",
    document: Mapping[str, Any] | None = None,
    token: str | None = None,
) -> tuple[int, Any]:
    """Return status and document of the answer; the document is None when it is no JSON.

    Args:
        admin: the address, with or without a scheme.
        path: below it.
        timeout_s: for each step: to connect, to send, to wait for the next bytes.
        method: the request's.
        document: its body, as JSON.
        token: what a write must bring.

    Raises:
        click.exceptions.Exit: nobody answers; with code 1, after one sentence that says why.
        click.BadParameter: ``admin`` or ``token`` is none.
    """
    import orjson

    connection, prefix = _connect(admin, timeout_s)
    headers = {}
    if document is not None:
        headers["content-type"] = "application/json"
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            raise click.BadParameter("expected printable ASCII characters", param_hint="--token")
        headers["authorization"] = f"Bearer {token}"
    try:
        connection.request(
            method, prefix + path, None if document is None else orjson.dumps(document), headers
        )
        response = connection.getresponse()
        status, body = response.status, response.read(MAX_ANSWER_BYTES)
    except ConnectionRefusedError:
        raise fail(
            f"nothing listens on {admin}: is the proxy running, and is that its admin address?"
        ) from None
    except TimeoutError:
        raise fail(f"{admin} did not answer within {timeout_s:g} seconds") from None
    except (OSError, HTTPException) as error:
        raise fail(f"{admin} cannot be asked: {error or type(error).__name__}") from None
    finally:
        connection.close()
    try:
        return status, orjson.loads(body)
    except orjson.JSONDecodeError:
        return status, None


def refuse(admin: str, status: int) -> click.exceptions.Exit:
    """Say that what answers at ``admin`` is no proxy's admin address; raise the result to end with exit code 1."""
    return fail(
        f"{admin} answers {status} but is no admin address of modelproxy; see 'admin' in its configuration"
    )


def _connect(admin: str, timeout_s: float) -> tuple[HTTPConnection, str]:
    try:
        parts = urlsplit(admin if "://" in admin else f"http://{admin}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        raise click.BadParameter(
            f"expected an address such as {DEFAULT_ADMIN}, got {admin!r}", param_hint="--admin"
        )
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(host, port, timeout=timeout_s), parts.path.rstrip("/")
