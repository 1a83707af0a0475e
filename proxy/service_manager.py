"""What the supervisor tells the service manager that started it: systemd's ``sd_notify`` protocol.

One datagram for each change of state, to the socket that ``NOTIFY_SOCKET`` names; without that variable nothing is
sent. Source: sd_notify(3). Never waits, never fails: a manager that does not listen is no reason not to serve.
"""

import logging
import os
import socket
from collections.abc import Mapping

from proxy.clock import monotonic_ns

__all__ = ["ServiceManager"]

_log = logging.getLogger("modelproxy")


class ServiceManager:
    """The service manager's ear.

    Args:
        environ: with ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``, if there is one.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.beat_s = self._beat_s(environ) if self._address else 0.0
        """How often :meth:`beat` must be called, half of what systemd allows; 0: never."""

    def ready(self) -> None:
        """It serves, with the newest configuration."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """It reads its configuration again; :meth:`ready` ends that (``Type=notify-reload``)."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It drains."""
        self._tell("STOPPING=1")

    def beat(self) -> None:
        """It is not stuck (``WatchdogSec``)."""
        self._tell("WATCHDOG=1")

    def _beat_s(self, environ: Mapping[str, str]) -> float:
        allowed = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return int(allowed) / 2e6 if is_ours and allowed.isdecimal() else 0.0

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # A name in the abstract namespace is written with @ in place of its zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
                ear.setblocking(False)
                ear.sendto(text.encode(), address)
        except OSError as error:
            _log.warning("cannot tell the service manager %s: %s", text.partition("\n")[0], error.strerror)
