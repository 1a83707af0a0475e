"""What one worker counts of one server of a model: checks, and the times it was taken out and brought back.

A server that is out now is the difference of two slots, and each table version has slots of its own: a reload ends
what lasts under the version that goes and carries it over to the one that comes, so that each version is settled.
"""

from typing import Any

from proxy.tally import ENDPOINT_FIELDS

__all__ = ["EndpointCounts"]

_UNHEALTHY, _UNHEALTHY_CARRIED, _HEALTHY_AGAIN = (
    ENDPOINT_FIELDS.index(field) for field in ("unhealthy", "unhealthy_carried", "healthy_again")
)
_EJECTED, _EJECTED_CARRIED, _READMITTED = (
    ENDPOINT_FIELDS.index(field) for field in ("ejected", "ejected_carried", "readmitted")
)
_ASKED_UNHEALTHY = ENDPOINT_FIELDS.index("asked_unhealthy")
_PASSED, _FAILED = (ENDPOINT_FIELDS.index(f"check_{result}") for result in ("passed", "failed"))


class EndpointCounts:
    """The counts of one server under the table in force.

    Args:
        url: the server, as metrics name it.
    """

    __slots__ = ("_base", "_ejections", "_is_unhealthy", "_slots", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self._slots: Any = None
        self._base = 0
        self._is_unhealthy = 0
        self._ejections = 0
        """Pools that leave the server out: the model's own, and each of its shadows has another."""

    def move(self, slots: Any, base: int) -> None:
        """Count under another table from now on.

        Args:
            slots: its tally block; None: the server is in no table any more.
            base: the first slot of the server there.
        """
        if slots is self._slots:
            return
        self._add(_HEALTHY_AGAIN, self._is_unhealthy)
        self._add(_READMITTED, self._ejections)
        self._slots, self._base = slots, base
        self._add(_UNHEALTHY_CARRIED, self._is_unhealthy)
        self._add(_EJECTED_CARRIED, self._ejections)

    def on_check(self, passed: bool) -> None:
        """Count a health check."""
        self._add(_PASSED if passed else _FAILED, 1)

    def on_asked_unhealthy(self) -> None:
        """Count a request that is sent here for want of a healthy server."""
        self._add(_ASKED_UNHEALTHY, 1)

    def set_unhealthy(self, is_unhealthy: bool) -> None:
        """Count a change of health."""
        if is_unhealthy != bool(self._is_unhealthy):
            self._is_unhealthy = int(is_unhealthy)
            self._add(_UNHEALTHY if is_unhealthy else _HEALTHY_AGAIN, 1)

    def on_ejected(self) -> None:
        """Count that a pool leaves the server out."""
        self._ejections += 1
        self._add(_EJECTED, 1)

    def on_readmitted(self) -> None:
        """Count that it no longer does."""
        self._ejections -= 1
        self._add(_READMITTED, 1)

    def _add(self, offset: int, number: int) -> None:
        if self._slots is not None and number:
            self._slots[self._base + offset] += number
