"""The run: records read, sent when they are due, judged, and handed on. Everything that waits is here.

Theory of operation
    A thread reads ahead, a batch at a time. The loop takes record after record in the order of the log, waits until
    it is due and until one of ``concurrency`` places is free, and starts it as a task. So the replay is an open loop
    as far as the places go: a slow model does not slow the log down, until all places are taken; from then on requests
    are late, and how late is reported.

Rules
    * What a model does wrong is an outcome. What ends the run is the log's end, the limit, or :meth:`Replay.stop`.
    * Against another model both are asked at the same time; which one is written to first alternates by a hash of the
      request's id, so neither is always the one that found the machine idle.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Final, Protocol

from proxy.clock import monotonic_ns
from proxy.compare import Answer, Comparison, ComparisonRule
from proxy.compare.meaning import SCORE, text_pairs
from proxy.embedder import Embedder
from proxy.printable import printable
from proxy.records.record import Record
from proxy.replay.calls import Call
from proxy.replay.judging import Asked, Outcome, judge
from proxy.replay.pacing import Pace, Schedule
from proxy.replay.preparing import Prepared, Preparer
from proxy.replay.rules import RouteRule
from proxy.routing.hashing import bucket, salt_prefix
from proxy.tasks import spawn

__all__ = ["Model", "Replay"]

_BATCH_RECORDS: Final = 64
_BATCH_BYTES: Final = 4 << 20
"""Read ahead by the thread: one batch while the one before is being sent."""

_ORDER: Final = salt_prefix("replay/order")

_log = logging.getLogger("modelproxy")


class Model(Protocol):
    """Who is asked; see :class:`proxy.replay.target.Target`."""

    async def ask(self, call: Call, matched_prefix: bytes) -> Asked:
        """Send ``call`` and return what came of it. Never raises for what the model does."""


class Replay:
    """One run over a log.

    Args:
        records: in the order in which they are sent; iterated in a thread.
        preparer: makes of each what is sent and compared, or says why it is not.
        target: the model under test.
        reference: the other model to ask; None: the recorded answers are the reference.
        pace: how fast.
        concurrency: requests under way at most.
        limit: requests sent at most; None: all.
        embedder: is asked how far texts are apart in meaning, of routes that say so; None: nobody is.
        on_refused: told the reason of each record that is not replayed.
        on_outcome: told what came of each that is, and whether its values may be shown.
    """

    def __init__(
        self,
        records: Iterable[Record],
        preparer: Preparer,
        target: Model,
        reference: Model | None,
        *,
        pace: Pace,
        concurrency: int,
        limit: int | None = None,
        embedder: Embedder | None = None,
        on_refused: Callable[[str], None],
        on_outcome: Callable[[Outcome, bool], None],
    ) -> None:
        self.abandoned = 0
        """Requests that were under way when the run was stopped."""
        self._records = records
        self._preparer = preparer
        self._target = target
        self._reference = reference
        self.schedule = Schedule(pace)
        """When each is due, and what was shortened."""
        self._places = asyncio.Semaphore(concurrency)
        self._limit = limit
        self._embedder = embedder
        self._on_refused = on_refused
        self._on_outcome = on_outcome
        self._under_way: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._error: BaseException | None = None

    async def run(self) -> bool:
        """Replay to the end; True if it came to it, False if it was stopped before.

        Raises:
            Exception: what reading, or who is told, raised; what was under way then is given up.
        """
        self._sending = spawn(self._send_all(), name="replay")
        try:
            await asyncio.wait([self._sending])
            if not self._is_stopped and self._under_way:
                await asyncio.wait(self._under_way)
        finally:
            for task in (self._sending, *self._under_way):
                task.cancel()
            ended = await asyncio.gather(self._sending, *self._under_way, return_exceptions=True)
        if self._error is None:
            self._error = next((each for each in ended if isinstance(each, Exception)), None)
        if self._error is not None:
            raise self._error
        return not self._is_stopped

    def stop(self) -> None:
        """Send nothing more, and give up what is under way."""
        self._is_stopped = True
        for task in (self._sending, *self._under_way):
            if task is not None:
                task.cancel()

    async def _send_all(self) -> None:
        schedule, sent = self.schedule, 0
        async with aclosing(_read_ahead(self._records)) as records:
            async for record in records:
                found = self._preparer.prepare(record)
                if isinstance(found, str):
                    self._on_refused(found)
                    continue
                if not sent:
                    schedule.start(monotonic_ns())
                due_ns = schedule.due_ns(record.ts_wall_ns)
                if due_ns is not None and (wait_ns := due_ns - monotonic_ns()) > 0:
                    await asyncio.sleep(wait_ns / 1e9)
                await self._places.acquire()
                sent += 1
                task = spawn(self._one(record, found, due_ns), name="replayed request")
                self._under_way.add(task)
                task.add_done_callback(self._leave)
                # Not with the record behind: a search for one could go on to the end of the log.
                if sent == self._limit:
                    return

    def _leave(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None and self._error is None:
            self._error = error
            self.stop()

    async def _one(self, record: Record, prepared: Prepared, due_ns: int | None) -> None:
        late_ns = 0 if due_ns is None else max(monotonic_ns() - due_ns, 0)
        try:
            new, reference = await self._ask(prepared)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        against = prepared.recorded if reference is None else reference.answer
        comparison, meaning = None, ""
        if against is not None and new.answer is not None:
            comparison = _judge(
                prepared.rule.compare, record, against, new.answer, is_recorded=reference is None
            )
            try:
                comparison, meaning = await self._with_meaning(prepared.rule, comparison, against, new.answer)
            except asyncio.CancelledError:
                self.abandoned += 1
                raise
        content = record.response.content
        shows_values = prepared.rule.shows_values and not content.redacted and content.body is not None
        self._on_outcome(Outcome(record, new, reference, late_ns, comparison, meaning), shows_values)

    async def _with_meaning(
        self, rule: RouteRule, comparison: Comparison, reference: Answer, new: Answer
    ) -> tuple[Comparison, str]:
        """Return the comparison with how far its texts are apart in meaning, where somebody can say so, and what came
        of asking."""
        if self._embedder is None or not rule.asks_meaning or comparison.method != "text":
            return comparison, ""
        if comparison.result == "uncomparable":
            return comparison, ""
        if rule.withholds_meaning:
            return comparison, "withheld"
        pairs = text_pairs(rule.compare, reference, new)
        if not pairs:
            return comparison, ""
        distance = await self._embedder.distance(pairs)
        if distance is None:
            return comparison, "failed"
        return comparison._replace(scores=(*comparison.scores, (SCORE, distance))), "told"

    async def _ask(self, prepared: Prepared) -> tuple[Asked, Asked | None]:
        """Ask the model under test, and the other one if there is one, at the same time."""
        call, matched = prepared.call, prepared.rule.matched_prefix
        if self._reference is None:
            return await self._target.ask(call, matched), None
        asking = [self._target.ask(call, matched), self._reference.ask(call, matched)]
        if bucket(_ORDER, call.request_id.encode()) & 1:
            other, new = await asyncio.gather(*reversed(asking))
        else:
            new, other = await asyncio.gather(*asking)
        return new, other


def _judge(
    rule: ComparisonRule, record: Record, reference: Answer, new: Answer, *, is_recorded: bool
) -> Comparison:
    try:
        return judge(rule, record, reference, new, is_recorded=is_recorded)
    except Exception as error:  # as in the observer: a run of hours must outlive any answer
        _log.error("comparison of %s failed: %s", printable(record.request_id), type(error).__name__)
        return Comparison("uncomparable", None, "error", rule.as_, 0, 0)


async def _read_ahead(records: Iterable[Record]) -> AsyncGenerator[Record, None]:
    """Yield records that a thread reads, a batch ahead: disks wait, and the loop does not."""
    iterator = iter(records)
    upcoming = spawn(asyncio.to_thread(_take, iterator), name="reading ahead")
    try:
        while batch := await upcoming:
            upcoming = spawn(asyncio.to_thread(_take, iterator), name="reading ahead")
            for record in batch:
                yield record
    finally:
        upcoming.cancel()


def _take(records: Iterator[Record]) -> list[Record]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(len(content.body or b"") for content in (record.request.content, record.response.content))
        if len(batch) == _BATCH_RECORDS or size > _BATCH_BYTES:
            break
    return batch
