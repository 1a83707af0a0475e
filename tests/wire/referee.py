"""Other readers of HTTP/1.1, to which ours is held: llhttp (the parser we serve with) and h11."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import orjson
import pytest
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from proxy.wire.head import RequestHead, check_request

__all__ = [
    "Reading",
    "checked",
    "corpus",
    "fields_of",
    "h11_request",
    "h11_response",
    "llhttp_request",
    "llhttp_response",
]

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "http1_llhttp.jsonl"


@dataclass
class Reading:
    """One message as a referee reads it."""

    start: tuple[Any, ...] = ()
    """(method, target) or (status, reason)."""
    version: str = ""
    names: list[bytes] = field(default_factory=list)
    """Lower-case."""
    values: list[bytes] = field(default_factory=list)
    """As the connections of the proxy keep them: those of a request without blanks around them."""
    lines: list[bytes] = field(default_factory=list)
    body: bytes = b""
    keep_alive: bool = False
    head_complete: bool = False
    messages: int = 0
    """Complete ones."""


class _Reader:
    """Callbacks of httptools; keeps fields as the connections of the proxy do."""

    def __init__(self, parser_class: Callable[["_Reader"], Any]) -> None:
        self.reading = Reading()
        self.text = b""
        self.strips = parser_class is HttpRequestParser
        self.parser = parser_class(self)

    def on_url(self, url: bytes) -> None:
        self.text += url

    def on_status(self, reason: bytes) -> None:
        self.text += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        reading = self.reading
        if reading.head_complete:
            return
        if self.strips:
            value = value.rstrip(b" \t")
        reading.names.append(name.lower())
        reading.values.append(value)
        reading.lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        reading, parser = self.reading, self.parser
        is_request = hasattr(parser, "get_method")
        reading.start = (parser.get_method() if is_request else parser.get_status_code(), self.text)
        reading.version = parser.get_http_version()
        reading.keep_alive = parser.should_keep_alive()
        reading.head_complete = True

    def on_body(self, data: bytes) -> None:
        self.reading.body += data

    def on_message_complete(self) -> None:
        self.reading.messages += 1


def _llhttp(raw: bytes, parser_class: Callable[[_Reader], Any]) -> Reading | None:
    reader = _Reader(parser_class)
    try:
        reader.parser.feed_data(raw)
    except HttpParserUpgrade:
        return reader.reading
    except HttpParserError:
        return None
    return reader.reading if reader.reading.head_complete else None


def llhttp_request(raw: bytes) -> Reading | None:
    """Return how llhttp reads a request; None when it refuses ``raw`` or waits for the rest of the head."""
    return _llhttp(raw, HttpRequestParser)


def llhttp_response(raw: bytes) -> Reading | None:
    """Return how llhttp reads a response; None when it refuses ``raw`` or waits for the rest of the head."""
    return _llhttp(raw, HttpResponseParser)


def checked(raw: bytes) -> RequestHead:
    """Return the head of the request ``raw``, as the proxy has it when it is not plain."""
    reading = llhttp_request(raw)
    assert reading is not None, "llhttp refuses this"
    method, target = reading.start
    return check_request(
        method,
        target,
        reading.names,
        reading.values,
        reading.lines,
        http11=reading.version == "1.1",
        keep_alive=reading.keep_alive,
    )


def _h11(connection: h11.Connection, raw: bytes) -> Reading | None:
    reading = Reading()
    try:
        connection.receive_data(raw)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                reading.start = (event.method, event.target)
            elif isinstance(event, h11.Response):
                reading.start = (event.status_code, event.reason)
            elif isinstance(event, h11.Data):
                reading.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                reading.messages += 1
                return reading
            else:
                return reading if reading.head_complete else None
            if isinstance(event, h11.Request | h11.Response):
                reading.head_complete = True
                reading.version = event.http_version.decode()
                reading.names = [name for name, _ in event.headers]
                reading.values = [value for _, value in event.headers]
    except h11.RemoteProtocolError:
        return None


def h11_request(raw: bytes) -> Reading | None:
    """Return how h11 reads a request; None when it refuses ``raw``."""
    return _h11(h11.Connection(h11.SERVER), raw)


def h11_response(raw: bytes) -> Reading | None:
    """Return how h11 reads the response to a ``GET``; None when it refuses ``raw``."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    return _h11(connection, raw)


def fields_of(block: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of header lines that we built, as llhttp reads them."""
    reading = llhttp_response(b"HTTP/1.1 200 OK\r\n" + block + b"\r\n")
    assert reading is not None, f"llhttp refuses what we built: {block!r}"
    return list(zip(reading.names, reading.values, strict=True))


def corpus(kind: str) -> list[bytes]:
    """Return the messages of llhttp's own test documents, ``request`` or ``response``; skip where they are absent."""
    if not CORPUS.exists():
        pytest.skip(f"no {CORPUS}")
    rows = map(orjson.loads, CORPUS.read_bytes().splitlines())
    texts = (row["raw"] for row in rows if row["kind"] == kind)
    return [text.encode("utf-8" if max(text) > "\xff" else "latin-1") for text in texts]
