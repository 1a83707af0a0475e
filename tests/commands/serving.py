"""A server that answers like an admin address, and keeps what it was asked."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

__all__ = ["Asked", "answering"]


@dataclass(slots=True)
class Asked:
    """The address, and the requests that came there."""

    url: str
    requests: list[tuple[str, str, bytes, str | None]] = field(default_factory=list)
    """Method, path, body, authorization."""


class _Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what went wrong, but nothing of a client that hung up: standard error may be the command's here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def answering(code: int, body: bytes) -> Iterator[Asked]:
    """Give one answer to everything on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.requests.append((self.command, self.path, sent, self.headers.get("authorization")))
            self.send_response(code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    asked = Asked(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
