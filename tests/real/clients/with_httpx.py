"""Plain calls as users of ``httpx`` write them. What a call may say: see :mod:`tests.real.calls`."""

import gzip
from collections.abc import Iterator
from typing import Any

import httpx

from tests.real.clients.calling import octets, seen, serve


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 10_000):
        yield body[at : at + 10_000]


def plain(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    json: Any = None,
    size: int = 0,
    chunked: bool = False,
    compress: bool = False,
    files: bool = False,
    stream: bool = False,
    times: int = 1,
) -> list[dict[str, Any]]:
    """Make the same call ``times`` times with one client."""
    headers = dict(headers or {})
    body = octets(size)
    if compress:
        body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
    options: dict[str, Any] = {"headers": headers}
    if files:
        headers["content-type"] = "multipart/form-data; boundary=fixed"
        options["files"] = {"file": ("a.bin", body)}
    elif json is not None:
        options["json"] = json
    elif size:
        options["content"] = body
    told: list[dict[str, Any]] = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for _ in range(times):
            if chunked:
                options["content"] = _pieces(body)
            with client.stream(method, path, **options) as answer:
                if stream:
                    told.append({"status": answer.status_code, "lines": list(answer.iter_lines())})
                else:
                    told.append(
                        {"status": answer.status_code, "reason": answer.reason_phrase, **seen(answer.read())}
                    )
    return told


if __name__ == "__main__":
    serve({"plain": plain})
