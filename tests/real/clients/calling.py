"""The loop of a client program: reads which call to make, makes it, tells what came of it. One line of JSON each.

Programs of this folder run in an environment of their own, with nothing of the proxy in it.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["octets", "seen", "serve"]

SHOWN_BYTES = 1 << 16


def octets(size: int) -> bytes:
    """Return ``size`` bytes that no compression and no text decoding leaves as they are."""
    block = b"".join(hashlib.sha512(str(i).encode()).digest() for i in range(256))
    return (block * (size // len(block) + 1))[:size]


def seen(body: bytes) -> dict[str, Any]:
    """Return what can be told of a body in JSON: the text of a short one, size and digest of any."""
    shown = body.decode("latin-1") if len(body) < SHOWN_BYTES else ""
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} if not shown else {"text": shown}


def _plain(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else repr(value)


def serve(calls: Mapping[str, Callable[..., Any]]) -> None:
    """Make calls until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"gave": calls[order["call"]](order["url"], **order["arguments"])}
        except Exception as error:
            answer = {"raised": type(error).__name__, "text": str(error)}
        print(json.dumps(answer, default=_plain), flush=True)  # noqa: T201
