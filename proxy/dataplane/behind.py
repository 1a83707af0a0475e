"""A parser for the body behind a head that asks for another protocol.

llhttp stops there and takes the message for complete, body or not: what follows might be another protocol. If nobody
switches, the body is still to be read.
"""

from typing import TYPE_CHECKING

from httptools import HttpRequestParser

from proxy.wire.head import RequestHead
from proxy.wire.request import Framing

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection

__all__ = ["parser_behind"]

_HEADS = {
    Framing.LENGTH: b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n",
    Framing.CHUNKED: b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: %d\r\n\r\n",
}
"""What makes a fresh parser expect such a body."""


def parser_behind(client: "ClientConnection", head: RequestHead) -> HttpRequestParser:
    """Return a parser that goes on behind ``head``, whose body is still to come, and tells ``client``."""
    parser = HttpRequestParser(_BehindHead(client))
    parser.feed_data(_HEADS[head.framing] % head.length)
    return parser


class _BehindHead:
    """What the parser calls: nothing for the head that it was given instead."""

    def __init__(self, client: "ClientConnection") -> None:
        self._client = client
        self._is_behind = False
        self.on_body = client.on_body
        self.on_message_complete = client.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._client.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._client.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._client.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._client.on_headers_complete()
        self._is_behind = True
