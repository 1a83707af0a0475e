"""All sinks of the payload log, as the observer sees them: one place that records go to."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.clock import monotonic
from proxy.sinks.sink import NOBODYS, Sink, Token

__all__ = ["Sinks"]


class Sinks:
    """Hands every record to every sink. None of them waits for another.

    The outcomes of the first sink are those of the payload log: what ``submit`` returns is its answer.

    Args:
        sinks: at least one.
        kinds: of each, by name.
    """

    def __init__(self, sinks: Sequence[Sink], kinds: Mapping[str, str]) -> None:
        self._sinks = tuple(sinks)
        self._first, *self._others = self._sinks
        self._kinds = kinds

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the first sink."""
        return self._first.queued_bytes

    @property
    def is_failing(self) -> bool:
        """Whether the first sink fails."""
        return self._first.is_failing

    def has_room(self) -> bool:
        """Tell whether any of them would take another record: else it need not be built."""
        return any(sink.has_room() for sink in self._sinks)

    def submit(self, line: bytes, token: Token) -> bool:
        """Queue ``line`` for each; False if the first has no room for it. Never waits."""
        is_taken = self._first.submit(line, token)
        for sink in self._others:
            sink.submit(line, token)
        return is_taken

    def submit_line(self, line: bytes) -> None:
        """Queue a line that is no inference's, such as a label, for each sink. Never waits."""
        for sink in self._sinks:
            sink.submit(line, NOBODYS)

    def drop(self) -> None:
        """Count a record that was not built, because none had room."""
        for sink in self._sinks:
            sink.drop()

    def statistics(self) -> list[Mapping[str, Any]]:
        """Return what each does and has done, in the order of the file."""
        return [
            {
                "name": sink.name,
                "kind": self._kinds[sink.name],
                "counts": sink.counts.show(),
                "queue_bytes": sink.queued_bytes,
                "failing": sink.is_failing,
                "problem": sink.problem,
            }
            for sink in self._sinks
        ]

    def close(self, timeout_s: float) -> list[str]:
        """Have all of them write what is queued, at the same time; wait at most ``timeout_s`` and return the names of
        those that did not manage it."""
        deadline = monotonic() + timeout_s
        for sink in self._sinks:
            sink.begin_to_close(timeout_s)
        return [sink.name for sink in self._sinks if not sink.wait_closed(max(0.0, deadline - monotonic()))]
