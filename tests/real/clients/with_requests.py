"""Plain calls as users of ``requests`` write them. What a call may say: see :mod:`tests.real.calls`."""

import gzip
from collections.abc import Iterator
from typing import Any

import requests

from tests.real.clients.calling import octets, seen, serve


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 10_000):
        yield body[at : at + 10_000]


def _told(answer: requests.Response, stream: bool) -> dict[str, Any]:
    if stream:
        lines = [line.decode() for line in answer.iter_lines(chunk_size=None)]
        return {"status": answer.status_code, "lines": lines}
    return {"status": answer.status_code, "reason": answer.reason, **seen(answer.content)}


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
    """Make the same call ``times`` times in one session."""
    headers = dict(headers or {})
    body = octets(size)
    if compress:
        body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
    told = []
    with requests.Session() as session:
        for _ in range(times):
            options: dict[str, Any] = {"headers": headers, "stream": stream, "timeout": 30}
            if files:
                # A fixed boundary: requests draws one, and then no two requests are equal.
                prepared = requests.Request("POST", url, files={"file": ("a.bin", body)}).prepare()
                drawn = prepared.headers["content-type"].rpartition("=")[2].encode()
                assert isinstance(prepared.body, bytes)
                headers["content-type"] = "multipart/form-data; boundary=fixed"
                options["data"] = prepared.body.replace(drawn, b"fixed")
            elif json is not None:
                options["json"] = json
            elif size:
                options["data"] = _pieces(body) if chunked else body
            with session.request(method, url + path, **options) as answer:
                told.append(_told(answer, stream))
    return told


if __name__ == "__main__":
    serve({"plain": plain})
