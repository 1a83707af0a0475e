"""A run over a log: everything is sent, in order, as many at once as allowed, and ends when it is told to."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule
from proxy.embedder import Embedder
from proxy.records.reading import Reading
from proxy.records.record import Record
from proxy.replay import run as run_module
from proxy.replay.calls import Call
from proxy.replay.document import build_document
from proxy.replay.judging import Asked, Outcome
from proxy.replay.pacing import Pace
from proxy.replay.preparing import Preparer
from proxy.replay.results import Results
from proxy.replay.rules import RouteRule, RouteRules
from proxy.replay.run import Model, Replay
from proxy.tasks import spawn
from tests.replay.asking import FakeModel, answer_of, asked, record_of

RULES = RouteRules({}, RouteRule(ComparisonRule("json")))


class Told:
    """What a run said."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.shown: list[bool] = []
        self.refused: Counter[str] = Counter()

    def take(self, outcome: Outcome, shows_values: bool) -> None:
        """Keep an outcome."""
        self.outcomes.append(outcome)
        self.shown.append(shows_values)

    def refuse(self, reason: str) -> None:
        """Count a record that was not sent."""
        self.refused[reason] += 1

    def results(self) -> Counter[str]:
        """Return how often each result came out."""
        return Counter(each.comparison.result if each.comparison else "none" for each in self.outcomes)


def replay_of(
    records: Iterable[Record],
    model: Model,
    told: Told,
    reference: FakeModel | None = None,
    **changes: Any,
) -> Replay:
    options: dict[str, Any] = {"pace": Pace(), "concurrency": 4} | changes
    preparer = Preparer(
        options.pop("rules", RULES), is_recorded=reference is None, despite=options.pop("despite", ())
    )
    return Replay(
        records, preparer, model, reference, on_refused=told.refuse, on_outcome=told.take, **options
    )


async def test_everything_is_sent_in_order() -> None:
    """Each record that can be sent is sent once, in the order of the log, and judged."""
    model, told = FakeModel(), Told()
    records = [record_of(i, response={"body": '{"a":1}' if i % 3 else '{"a":2}'}) for i in range(300)]
    assert await replay_of(records, model, told).run() is True
    assert [call.request_id for call in model.calls] == [f"replay-r{i}" for i in range(300)]
    assert told.results() == {"agree": 200, "disagree": 100}
    assert model.most == 4


async def test_what_cannot_be_sent_is_told() -> None:
    """Records that cannot be sent, or compared, or are of no route, are counted by reason and not sent."""
    model, told = FakeModel(), Told()
    rules = RouteRules({"wine": RouteRule(ComparisonRule("json"))}, None)
    records = [
        record_of(request={"truncated": True}),
        record_of(response={"truncated": True}),
        record_of(route="beer"),
        record_of(),
    ]
    await replay_of(records, model, told, rules=rules).run()
    assert told.refused == {"request_truncated": 1, "answer_truncated": 1, "unknown_route": 1}
    assert len(model.calls) == len(told.outcomes) == 1


async def test_a_limit() -> None:
    """Not more than so many are sent, refused ones aside."""
    model, told = FakeModel(), Told()
    records = [record_of(i, request={"truncated": i % 2 == 0}) for i in range(100)]
    await replay_of(records, model, told, limit=7).run()
    assert (len(model.calls), len(told.outcomes)) == (7, 7)


async def test_what_fails_is_an_outcome() -> None:
    """A model that does not answer costs that comparison, and nothing else."""
    model, told = FakeModel(lambda call: asked(fault="reset")), Told()
    assert await replay_of([record_of(i) for i in range(5)], model, told).run() is True
    assert told.results() == {"none": 5}
    assert {each.new.fault for each in told.outcomes} == {"reset"}


async def test_against_another_model() -> None:
    """Both are asked, each first about as often, and the other one's answer is the reference; a cut log is enough."""
    order: list[str] = []

    def answering(name: str, body: bytes) -> FakeModel:
        def answer(call: Any) -> Any:
            order.append(name)
            return asked(answer_of(body))

        return FakeModel(answer)

    told = Told()
    model, other = answering("new", b'{"a":1}'), answering("other", b'{"a":2}')
    records = [record_of(i, response={"truncated": True}) for i in range(400)]
    await replay_of(records, model, told, other, concurrency=1).run()
    assert told.results() == {"disagree": 400}
    assert [difference.primary for difference in comparison(told).differences] == ["2"]
    assert len(model.calls) == len(other.calls) == 400
    first = Counter(order[::2])
    assert 160 < first["new"] < 240
    assert told.shown == [True] * 400


def comparison(told: Told) -> Any:
    return told.outcomes[0].comparison


async def test_a_reference_that_fails() -> None:
    """Without a reference there is nothing to compare with."""
    told = Told()
    await replay_of([record_of()], FakeModel(), told, FakeModel(lambda call: asked(fault="connect"))).run()
    (outcome,) = told.outcomes
    assert outcome.comparison is None
    assert outcome.reference is not None
    assert outcome.reference.fault == "connect"


async def test_values_of_redacted_answers_stay_hidden() -> None:
    """What the log did not hold is not shown, wherever it comes from."""
    told = Told()
    records = [record_of(), record_of(response={"redacted": True})]
    await replay_of(records, FakeModel(), told, despite=("redacted",), concurrency=1).run()
    assert told.shown == [True, False]


async def test_stopped() -> None:
    """When it is stopped nothing more is sent, and what is under way is given up and counted."""
    model, told = FakeModel(), Told()
    model.gate.clear()
    run = replay_of((record_of(i % 1000) for i in range(10_000)), model, told)
    task = spawn(run.run(), name="run")
    while model.under_way < 4:  # noqa: ASYNC110 - nobody says when
        await asyncio.sleep(0)
    run.stop()
    assert await task is False
    assert (run.abandoned, len(told.outcomes), len(model.calls)) == (4, 0, 4)


async def test_stopped_before_it_began() -> None:
    """A run that is stopped at once sends nothing."""
    model, told = FakeModel(), Told()
    run = replay_of([record_of()], model, told)
    run.stop()
    assert await run.run() is False


async def test_the_gaps_of_the_log() -> None:
    """At a speed, requests are sent when they are due, and it is told how late they were."""
    model, told = FakeModel(), Told()
    records = [record_of(i) for i in (0, 20, 40)]  # milliseconds
    loop = asyncio.get_running_loop()
    before = loop.time()
    await replay_of(records, model, told, pace=Pace(speed=1.0)).run()
    assert loop.time() - before >= 0.04
    assert all(each.late_ns >= 0 for each in told.outcomes)
    told = Told()
    await replay_of(records, model, told).run()
    assert [each.late_ns for each in told.outcomes] == [0, 0, 0]


class FakeTime:
    """A clock that goes on when somebody sleeps, and a model that notes when it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers_after_s: float = 0.0) -> None:
        self.now_ns = 0
        self.sent_s: list[float] = []
        self.most = self.under_way = 0
        self.answers_after_s = answers_after_s
        self.sleepers: list[tuple[int, int, asyncio.Event]] = []
        self._sleeps = 0
        monkeypatch.setattr(run_module, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(run_module, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": self.sleep}))

    async def sleep(self, seconds: float) -> None:
        """Wait for :meth:`drive`."""
        woken = asyncio.Event()
        self._sleeps += 1
        heapq.heappush(self.sleepers, (self.now_ns + round(seconds * 1e9), self._sleeps, woken))
        await woken.wait()

    async def drive(self, run: Awaitable[bool]) -> None:
        """Wake sleepers one after the other, each when all others have come as far as they can."""
        running = asyncio.ensure_future(run)
        while not running.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self.sleepers:
                self.now_ns, _, woken = heapq.heappop(self.sleepers)
                woken.set()
        await running

    async def ask(self, call: Call, matched_prefix: bytes) -> Asked:
        """Answer after a while."""
        self.sent_s.append(self.now_ns / 1e9)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.sleep(self.answers_after_s)
        self.under_way -= 1
        return asked()


@pytest.mark.parametrize("rate", [0.5, 3.0, 7.0, 250.0])
async def test_a_rate_is_kept_to_the_last_request(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th request is sent n / rate seconds after the first, however many came before it."""
    model, told = FakeTime(monkeypatch), Told()
    await model.drive(replay_of([record_of(i) for i in range(150)], model, told, pace=Pace(rate=rate)).run())
    assert model.sent_s == pytest.approx([n / rate for n in range(150)], abs=1e-6)
    assert [each.late_ns for each in told.outcomes] == pytest.approx([0] * 150, abs=1000)


async def test_no_more_at_once_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes too long makes requests late, by as much as is told, and is asked no more at once."""
    model, told = FakeTime(monkeypatch, answers_after_s=1.0), Told()
    records = [record_of(i) for i in range(40)]
    await model.drive(replay_of(records, model, told, pace=Pace(rate=10.0), concurrency=4).run())
    assert model.most == 4
    assert model.sent_s[-1] == pytest.approx(9.3, abs=0.01)  # four a second, not ten
    late = [sent - n / 10 for n, sent in enumerate(model.sent_s)]
    assert sorted(each.late_ns / 1e9 for each in told.outcomes) == pytest.approx(sorted(late), abs=1e-6)


async def test_what_breaks_reading_ends_the_run() -> None:
    """An error of the reader comes out, after what was under way."""

    def records() -> Iterator[Record]:
        yield from (record_of(i) for i in range(70))
        raise ValueError("the disk is gone")

    model, told = FakeModel(), Told()
    with pytest.raises(ValueError, match="the disk is gone"):
        await replay_of(records(), model, told).run()
    assert len(told.outcomes) == 64  # the batch that was whole


async def test_what_breaks_telling_ends_the_run() -> None:
    """An error of who is told comes out at once; the rest is not sent."""
    model, told = FakeModel(), Told()

    def take(outcome: Outcome, shows_values: bool) -> None:
        raise OSError("no space left")

    run = Replay(
        [record_of(i % 1000) for i in range(1000)], Preparer(RULES), model, None,
        pace=Pace(), concurrency=2, on_refused=told.refuse, on_outcome=take,
    )  # fmt: skip
    with pytest.raises(OSError, match="no space left"):
        await run.run()
    assert len(model.calls) < 1000


class FakeEmbedder(Embedder):
    """Says one distance of everything."""

    def __init__(self, distance: float | None) -> None:
        self.said = distance
        self.asked = 0

    async def distance(self, pairs: object) -> float | None:
        self.asked += 1
        return self.said


def replay_of_texts(embedder: Embedder, results: Results, *, withholds: bool = False) -> Replay:
    """Return the replay of one record, to which the model says another text."""
    rule = RouteRule(ComparisonRule("text"), asks_meaning=True, withholds_meaning=withholds)
    return Replay(
        [record_of(response={"body": "one text", "content_type": "text/plain"})],
        Preparer(RouteRules({}, rule)),
        FakeModel(lambda call: asked(Answer(200, b"text/plain", None, b"another text"))),
        None,
        pace=Pace(),
        concurrency=1,
        embedder=embedder,
        on_refused=results.refuse,
        on_outcome=lambda outcome, shows_values: results.add(outcome, shows_values=shows_values),
    )


class SlowEmbedder(FakeEmbedder):
    """Never answers."""

    async def distance(self, pairs: object) -> float | None:
        await super().distance(pairs)
        await asyncio.Event().wait()
        raise AssertionError


async def test_stopped_while_the_embedder_is_asked() -> None:
    """What the model has answered and nobody has judged yet is given up and counted too."""
    embedder, results = SlowEmbedder(None), Results()
    run = replay_of_texts(embedder, results)
    task = spawn(run.run(), name="run")
    while not embedder.asked:  # noqa: ASYNC110 - nobody says when
        await asyncio.sleep(0)
    run.stop()
    assert await task is False
    assert (run.abandoned, results.total().sent) == (1, 0)


MEANINGS: dict[str, tuple[bool, float | None, dict[str, int], int]] = {
    "told": (False, 0.25, {"told": 1, "failed": 0, "withheld": 0}, 1),
    "failed": (False, None, {"told": 0, "failed": 1, "withheld": 0}, 1),
    "withheld": (True, 0.25, {"told": 0, "failed": 0, "withheld": 1}, 0),
}


@pytest.mark.parametrize("name", MEANINGS)
async def test_meaning(name: str) -> None:
    """The embedder is asked about texts that differ, but of routes that redact; what came of it is counted."""
    withholds, distance, counts, asked_times = MEANINGS[name]
    embedder, results = FakeEmbedder(distance), Results()
    await replay_of_texts(embedder, results, withholds=withholds).run()
    document = build_document(results, Reading(), None)
    assert (document["meanings"], embedder.asked) == (counts, asked_times)
    assert ("meaning_distance" in document["scores"]) == (name == "told")


async def test_a_comparison_that_fails_is_uncomparable() -> None:
    """A fault of the comparer costs one comparison."""

    class Broken:
        as_ = "json"

    told = Told()
    rules = RouteRules({}, RouteRule(Broken()))  # type: ignore[arg-type]  # that is the fault
    await replay_of([record_of()], FakeModel(), told, rules=rules).run()
    assert told.results() == {"uncomparable": 1}
    assert comparison(told).reason == "error"
