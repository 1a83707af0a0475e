"""The TLS contexts of one worker, and how a connection to a model is secured.

The supervisor reads the files and sends their text (:mod:`proxy.certificates`). A context is made once for the same
settings and the same text, and shared by everything that has them; when the text changes, new connections use the new
one. What cannot be made leaves the old one where it is.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from proxy.certificates import Files, client_context, server_context
from proxy.clock import monotonic
from proxy.dataplane.tls import HandshakeCutError, TlsConnection

if TYPE_CHECKING:
    from proxy.settings import ModelTls, Settings, Tls

__all__ = ["HANDSHAKE_ERRORS", "BackendTls", "Contexts"]

HANDSHAKE_ERRORS = (ssl.SSLError, HandshakeCutError)
"""What says that a server was reached, but no secure connection was made."""

SAY_AGAIN_S = 60.0
"""How long the same failure of the same model is not logged again."""

_log = logging.getLogger("modelproxy.tls")


class _Made:
    """A context and what it was made from."""

    __slots__ = ("_build", "_paths", "_texts", "context")

    def __init__(
        self, build: Callable[[Files], ssl.SSLContext], paths: Iterable[object], files: Files
    ) -> None:
        self._build = build
        self._paths = [str(path) for path in paths if path is not None]
        self._texts = self._read(files)
        self.context = build(files)

    def renew(self, files: Files) -> None:
        """Make the context anew if the text of a file has changed."""
        texts = self._read(files)
        if texts == self._texts:
            return
        self._texts = texts
        try:
            self.context = self._build(files)
        except (OSError, ValueError, KeyError) as error:
            # The supervisor has tried it out, so this is a difference between two processes on one machine.
            _log.error("cannot use the new certificates, the old ones stay: %s", error)

    def _read(self, files: Files) -> list[str | None]:
        return [files.get(path) for path in self._paths]


class Contexts:
    """Every context of one worker."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._made: dict[Tls | ModelTls, _Made] = {}

    def take(self, files: Mapping[str, str]) -> None:
        """Take the text of all files, and renew what was made from others."""
        self._files = dict(files)
        for made in self._made.values():
            made.renew(self._files)

    def prepare(self, settings: "Settings") -> None:
        """Make what ``settings`` need.

        Raises:
            OSError: OpenSSL refuses a file (``ssl.SSLError``), or has none to read.
            KeyError: the text of a file is not there.
        """
        self.server(settings.tls)
        for model in settings.models.values():
            if _is_secured(model):
                self._client(model.tls)

    def keep(self, settings: "Iterable[Settings]") -> None:
        """Forget what none of ``settings`` needs."""
        needed: set[Tls | ModelTls] = set()
        for each in settings:
            needed |= {each.tls, *(model.tls for model in each.models.values())}
        self._made = {tls: made for tls, made in self._made.items() if tls in needed}

    def server(self, tls: "Tls") -> ssl.SSLContext | None:
        """Return the context for clients; None: they are not secured."""
        if tls.certificate is None:
            return None
        if tls not in self._made:
            paths = (tls.certificate, tls.key, tls.client_ca)
            self._made[tls] = _Made(lambda files: server_context(tls, files), paths, self._files)
        return self._made[tls].context

    def _client(self, tls: "ModelTls") -> _Made:
        if tls not in self._made:
            paths = (tls.ca, tls.certificate, tls.key)
            self._made[tls] = _Made(lambda files: client_context(tls, files), paths, self._files)
        return self._made[tls]

    def backend(self, name: str, model: Any) -> "BackendTls | None":
        """Return how connections to the model ``name`` are secured; None: they are not."""
        return (
            BackendTls(self._client(model.tls), name, model.tls.server_name) if _is_secured(model) else None
        )


def _is_secured(model: Any) -> bool:
    first = model.url if isinstance(model.url, str) else model.url[0]
    return bool(first.startswith("https:"))


class BackendTls:
    """How connections to one model are secured. It outlives certificates: whoever has it has the newest context."""

    __slots__ = ("_made", "_said", "_server_name", "name")

    def __init__(self, made: _Made, name: str, server_name: str | None) -> None:
        self.name = name
        self._made = made
        self._server_name = server_name
        self._said: dict[str, float] = {}

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._made.context

    def server_name(self, host: str) -> str:
        """Return the name that a server at ``host`` must prove to have."""
        return self._server_name or host

    async def connect(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, host: str, port: int
    ) -> None:
        """Connect ``protocol`` to ``host`` and shake hands; the caller bounds the time.

        Raises:
            ssl.SSLError: the handshake failed; logged.
            OSError: no connection, or closed in the middle of the handshake.
        """
        done: asyncio.Future[None] = loop.create_future()

        def on_ended(_: TlsConnection, error: Exception | None) -> None:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        secured = TlsConnection(
            protocol, self.context, on_ended, server_side=False, server_name=self.server_name(host)
        )
        transport, _ = await loop.create_connection(lambda: secured, host, port)
        try:
            await done
            if secured.is_closing():  # it refused us as soon as it could
                raise secured.broken or HandshakeCutError("closed behind the handshake")
        except ssl.SSLError as error:
            self.report(f"{host}:{port}", error)
            raise
        except asyncio.CancelledError:
            transport.abort()
            raise

    def is_refusal(self, error: Exception | None, host: str, port: int) -> bool:
        """Tell whether a connection was lost because the server did not accept us, and log it.

        In TLS 1.3 the server judges our certificate when the handshake is over for us.
        """
        if not isinstance(error, ssl.SSLError):
            return False
        self.report(f"{host}:{port}", error)
        return True

    def report(self, address: str, error: ssl.SSLError) -> None:
        """Log why a connection was not secured, each reason once a minute."""
        reason = (
            getattr(error, "verify_message", "")
            or (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        )
        now = monotonic()
        if now - self._said.get(reason, -SAY_AGAIN_S) >= SAY_AGAIN_S and len(self._said) < 1000:
            self._said[reason] = now
            _log.warning("model %s: no secure connection to %s: %s", self.name, address, reason)
