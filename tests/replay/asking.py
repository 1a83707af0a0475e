"""Records and models for replays that need no network."""

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.compare import Answer
from proxy.records.record import Record, read_document
from proxy.replay.calls import Call
from proxy.replay.judging import Asked
from tests.records.lines import plain_document

__all__ = ["FakeModel", "answer_of", "asked", "record_of"]


def record_of(number: int = 0, **changes: Any) -> Record:
    """Return a record; ``request`` and ``response`` are merged into the plain ones."""
    document = plain_document(number)
    for key, value in ({"schema": 2} | changes).items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    found = read_document(document)
    assert isinstance(found, Record), found
    return found


def answer_of(body: bytes = b'{"a":1}', status: int = 200) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, b"application/json", None, body)


def asked(answer: Answer | None = None, fault: str | None = None, duration_ns: int = 1_000_000) -> Asked:
    """Return what came of asking; an agreeing answer unless told otherwise."""
    return Asked(answer_of() if answer is None and fault is None else answer, fault, duration_ns)


class FakeModel:
    """Answers by a function, and remembers who asked."""

    def __init__(self, answer: Callable[[Call], Asked] = lambda call: asked()) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.most = self.under_way = 0

    async def ask(self, call: Call, matched_prefix: bytes) -> Asked:
        """Answer when the gate is open."""
        self.calls.append(call)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        return self.answer(call)
