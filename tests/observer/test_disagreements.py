"""The book of disagreements: what it counts, what it keeps, and what a reload, a restart and a full disk do to it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.engine.sqlite_file import StoreError
from proxy.engine.store_thread import FileThread
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.observer.blocks import Blocks
from proxy.observer.breakdown import MAX_VALUES, TOTAL, Cell
from proxy.observer.breakdown_store import FILE_NAME, BreakdownStore, open_breakdowns
from proxy.observer.disagreements import EXAMPLES_BYTES, Disagreements, showing_digest, stretch_key
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import Pair
from proxy.observer.showing import Known
from proxy.routing.table import Table
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of

KEY = b"k" * 32
SLICED = BASE_CONFIG.replace("as: classification", "as: classification, slices: {tier: header:x-tier}")


EMBEDDER = "embedder: {url: 'http://127.0.0.1:9/v1/embeddings', model: m}\n"


class NoSink:
    def has_room(self) -> bool:
        return False

    def submit(self, line: bytes, token: Any) -> bool:
        return False

    def drop(self) -> None: ...


class NoTracer:
    def trace(self, table: Table, pair: Pair) -> None: ...


class Bench:
    """A book behind the outcomes that an observer has."""

    def __init__(self, directory: Path, text: str = BASE_CONFIG, shelf: Any = None) -> None:
        self.blocks = Blocks(directory)
        self.book = Disagreements(directory, shelf)
        self.outcomes = Outcomes(self.blocks, NoSink(), NoTracer(), KEY, witness=self.book)
        self.last = 0
        self.publish(text)

    def publish(self, text: str) -> None:
        """Put another version in force."""
        self.last += 1
        table = table_of(text, self.last)
        self.blocks.admit(table, [0])
        self.outcomes.admit(table)
        self.book.admit(table)
        self.book.commit(table.version)

    def pair(self, label: int = 2, *, version: int = 0, shadow: int = 0, **primary: Any) -> None:
        """Settle one pair whose shadow says ``label``; the client was told 1."""
        primary = {"version": version or self.last, "flags": Flag.MIRRORED | Flag.SHOWN, **primary}
        part = shadow_part(version=version or self.last, shadow=shadow, response_body=agreeing(label))
        self.settle(primary_part(**primary), part)

    def settle(self, primary: Primary, part: ShadowPart) -> None:
        self.outcomes.settle(Pair(0, primary, {part.shadow: part}))

    def known(self, shadow: str = "wine-v4", route: str = "wine") -> Known:
        (known,) = [each for each in self.book.known(route) if each.shadow == shadow]
        return known

    def total(self) -> tuple[int, ...]:
        return tuple(self.known().cells[TOTAL][:3])

    async def close(self) -> None:
        assert await self.book.close(5.0)
        self.blocks.close()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_pairs_are_counted_by_shadow(bench: Bench) -> None:
    """Each shadow has counts and examples of its own."""
    bench.pair(1)
    bench.pair(2, request_id=b"r2")
    bench.pair(2, shadow=1)
    assert bench.total() == (1, 1, 0)
    assert bench.known("wine-v5").cells[TOTAL][:3] == (0, 1, 0)
    assert [each.primary.request_id for each in bench.known().newest] == [b"r2"]
    assert bench.book.known("other") == []
    await bench.close()


async def test_slices(tmp_path: Path) -> None:
    """Each pair counts under its request's value, and a request without it under none."""
    bench = Bench(tmp_path, SLICED)
    gold = b"POST / HTTP/1.1\r\nx-tier: gold\r\n\r\n"
    bench.pair(2, request_head=gold)
    bench.pair(1, request_head=gold)
    bench.pair(2)
    cells = bench.known().cells
    assert cells[Cell("slice", "tier", "gold")][:3] == (1, 1, 0)
    assert cells[Cell("slice", "tier", "none")][:3] == (0, 1, 0)
    assert [dict(each.slices) for each in bench.known().newest] == [{"tier": "none"}, {"tier": "gold"}]
    await bench.close()


async def test_counts_survive_a_restart(tmp_path: Path) -> None:
    """Who comes after finds the counts and goes on; the examples are gone."""
    first = Bench(tmp_path, SLICED)
    first.pair(2)
    assert await first.book.save(5.0)
    first.pair(1)
    since = first.known().since_wall_ns
    await first.close()
    second = Bench(tmp_path, SLICED)
    second.pair(1)
    assert await second.book.save(5.0)
    assert second.total() == (2, 1, 0)
    assert second.known().since_wall_ns == since
    assert second.known().cells[Cell("reason", "label")][:3] == (0, 1, 0)
    assert second.known().newest == []
    await second.close()


async def test_two_observers_of_an_upgrade(tmp_path: Path) -> None:
    """Both count at a time, and each knows what the other one counted, also where it counts nothing itself any more."""
    old, new = Bench(tmp_path), Bench(tmp_path)
    for bench in (old, new, old):
        bench.pair(2)
        bench.pair(1)
        assert await bench.book.save(5.0)
    assert old.total() == (3, 3, 0)
    assert await new.book.save(5.0)
    assert new.total() == (3, 3, 0)
    old.pair(2)
    await old.close()
    assert await new.book.save(5.0)
    assert new.total() == (3, 4, 0)
    await new.close()
    third = Bench(tmp_path)
    assert await third.book.save(5.0)
    assert third.total() == (3, 4, 0)
    await third.close()


async def test_two_observers_count_the_same_values_apart(tmp_path: Path) -> None:
    """However they take turns, there are so many values of a slice and no more, and no pair is lost."""
    old, new = Bench(tmp_path, SLICED), Bench(tmp_path, SLICED)
    for number in range(MAX_VALUES):
        for bench, name in ((old, "old"), (new, "new")):
            bench.pair(2, request_head=b"POST / HTTP/1.1\r\nx-tier: %s-%d\r\n\r\n" % (name.encode(), number))
            if number % 7 == 0:
                assert await bench.book.save(5.0)
    await old.close()
    assert await new.book.save(5.0)
    values = {cell.value: numbers[1] for cell, numbers in new.known().cells.items() if cell.part == "slice"}
    assert len(values) == MAX_VALUES + 1
    assert sum(values.values()) == new.total()[1] == 2 * MAX_VALUES
    await new.close()
    third = Bench(tmp_path, SLICED)
    assert await third.book.save(5.0)
    assert {cell: numbers for cell, numbers in third.known().cells.items() if cell.part == "slice"} == {
        cell: numbers for cell, numbers in new.known().cells.items() if cell.part == "slice"
    }
    await third.close()


async def test_nothing_is_written_twice(bench: Bench) -> None:
    """Saving again and again changes nothing."""
    bench.pair(2)
    for _ in range(3):
        assert await bench.book.save(5.0)
    await bench.close()
    again = Bench(bench.book.shelf.directory)
    assert await again.book.save(5.0)
    assert again.total() == (0, 1, 0)
    await again.close()


async def test_mistaken_labels(tmp_path: Path) -> None:
    """Rows are counted by both labels where these differ, and by their hashes where they must not be written."""
    bench = Bench(tmp_path)
    bench.pair(1)
    bench.pair(2)
    bench.pair(2)
    bench.pair(3)
    assert {cell: n[4] for cell, n in bench.known().cells.items() if cell.part == "labels"} == {
        Cell("labels", "1", "2"): 2,
        Cell("labels", "1", "3"): 1,
    }
    bench.publish(BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, redact: [{json: /nothing}, {detect: card}]"))
    bench.pair(7)
    bench.publish(
        BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, redact: [{json: /outputs/*/data/*, action: mask}]")
    )
    bench.pair(8)
    _, _, plain, hashed = (cell for cell in bench.known().cells if cell.part == "labels")
    assert (plain.name, plain.value) == ("1", "7")
    assert (len(hashed.name), len(hashed.value)) == (12, 12)
    await bench.close()


# Reloads

KEPT = {
    "a weight": ("weight: 25", "weight: 30"),
    "the log's percent": ("percent: 50", "percent: 60"),
    "a longer timeout": ("{model: wine-v5, percent: 100}", "{model: wine-v5, percent: 100, timeout: 3s}"),
    "fewer examples": ("as: classification", "as: classification, examples: 1"),
}

ANEW = {
    "another rule": (
        ("as: classification", "as: classification, label: label"),
        "another rule of comparison",
    ),
    "another server for the shadow": (
        ("http://10.0.0.4:9100", "http://10.0.0.4:9101"),
        "other servers of the shadow",
    ),
    "another champion": (("http://10.0.0.1:9001", "http://10.0.0.9:9001"), "other variants or models"),
    "another champion in its place": (("wine-v1", "wine-v1-retrained"), "other variants or models"),
    "another slice": (
        ("as: classification", "as: classification, slices: {tier: header:x-tier}"),
        "other slices",
    ),
    "both": (
        ("as: classification", "as: regression, slices: {tier: header:x-tier}"),
        "another rule of comparison and other slices",
    ),
}
"""What is changed, and what is said of it."""


@pytest.mark.parametrize(("old", "new"), KEPT.values(), ids=KEPT)
async def test_what_changes_no_comparison_keeps_the_counts(bench: Bench, old: str, new: str) -> None:
    """Counts go on where models and rule are the same, and so do pairs of the version before."""
    bench.pair(2)
    assert old in BASE_CONFIG
    bench.publish(BASE_CONFIG.replace(old, new))
    bench.pair(2)
    bench.pair(2, version=1)
    assert bench.total() == (0, 3, 0)
    await bench.close()


@pytest.mark.parametrize(("change", "why"), ANEW.values(), ids=ANEW)
async def test_what_changes_comparisons_begins_anew(
    bench: Bench, change: tuple[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers of other models or of another rule are not pooled, nor are those that come late; the log says why."""
    caplog.set_level(logging.INFO, "modelproxy")
    bench.pair(2)
    assert change[0] in BASE_CONFIG
    bench.publish(BASE_CONFIG.replace(*change))
    bench.pair(2, version=1)
    assert bench.total() == (0, 0, 0)
    assert bench.known().newest == []
    # The other shadow had no pairs that could be missed.
    sentence = f"routes[wine].shadows[wine-v4]: counts of disagreements and labels begin anew: {why}"
    assert [record.getMessage() for record in caplog.records] == [sentence]
    bench.pair(2)
    assert sum(bench.total()) == 1
    await bench.close()


async def test_what_is_not_in_force_is_forgotten(bench: Bench) -> None:
    """A route that is renamed and a shadow that is gone leave nothing, neither here nor on the disk."""
    bench.pair(2)
    bench.pair(2, shadow=1)
    assert await bench.book.save(5.0)
    bench.publish(BASE_CONFIG.replace("name: wine\n", "name: port\n"))
    bench.pair(2, version=1)
    assert bench.book.known("wine") == []
    assert bench.known(route="port").cells[TOTAL][:3] == (0, 0, 0)
    assert await bench.book.save(5.0)
    bench.publish(BASE_CONFIG)
    assert await bench.book.save(5.0)
    assert bench.total() == (0, 0, 0)
    await bench.close()


async def test_a_stricter_redaction_takes_the_examples_back(bench: Bench) -> None:
    """What may not be shown any more is not shown any more, and late pairs of the laxer version are not kept."""
    bench.pair(2)
    bench.publish(BASE_CONFIG)
    assert len(bench.known().newest) == 1, "a table of the same rules takes nothing back"
    bench.publish(BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, redact: [{json: /a}]"))
    assert bench.known().newest == []
    bench.pair(2, version=1)
    assert bench.known().newest == []
    assert bench.total() == (0, 2, 0)
    bench.pair(2)
    assert len(bench.known().newest) == 1
    await bench.close()


class FakeMeanings:
    """Takes questions, and counts what is not asked."""

    def __init__(self) -> None:
        self.withheld = 0
        self.asked: list[Any] = []

    def ask(self, pairs: Any, _take: Any) -> None:
        self.asked.append(pairs)


OPEN, REDACTS = (
    "log: {percent: 50}",
    "log: {percent: 50, content: true, body: 1KiB, redact: [{detect: email}]}",
)

TOLD: dict[str, tuple[str, str, list[Any], int]] = {
    "as it came": (OPEN, "ask ada@example.com", [(("one text", "ask ada@example.com"),)], 0),
    "redacted": (REDACTS, "ask ada@example.com", [(("one text", "ask ***"),)], 0),
    "longer than what is written": (REDACTS, "word " * 1000, [], 1),
}


@pytest.mark.parametrize("name", TOLD)
async def test_what_the_embedder_is_told(tmp_path: Path, name: str) -> None:
    """Texts without what must not be written; where that cannot be told from the rest, nothing, and it is counted."""
    log, said, asked, withheld = TOLD[name]
    text = BASE_CONFIG.replace("as: classification", "as: text, embedder: true")
    text = text.replace("log: {percent: 50, body: 1KiB}", log).replace("models:", f"{EMBEDDER}models:")
    bench = Bench(tmp_path, text)
    meanings: Any = FakeMeanings()
    bench.book.meanings = meanings
    flags, lines = Flag.MIRRORED | Flag.SHOWN, b"content-type: text/plain\r\n"
    primary = primary_part(version=1, flags=flags, response_lines=lines, response_body=b"one text")
    bench.settle(primary, shadow_part(version=1, response_lines=lines, response_body=said.encode()))
    assert (bench.total(), meanings.asked, meanings.withheld) == ((0, 1, 0), asked, withheld)
    await bench.close()


async def test_a_retired_version_is_forgotten(bench: Bench) -> None:
    """Its pairs cannot come any more; if one does, it is a fault that is counted and stops nothing."""
    bench.publish(BASE_CONFIG)
    bench.book.retire([1])
    bench.pair(2, version=1)
    assert bench.outcomes.errors == 1
    bench.pair(2)
    assert bench.total() == (0, 1, 0)
    await bench.close()


async def test_what_is_not_compared_has_no_book(tmp_path: Path) -> None:
    """A route without comparison keeps nothing."""
    bench = Bench(tmp_path, BASE_CONFIG.replace("as: classification", "as: none"))
    bench.pair(2)
    assert bench.book.known("wine") == []
    assert await bench.book.save(5.0)
    await bench.close()
    assert not (tmp_path / FILE_NAME).exists()


# Bounds


def sized(size: int) -> tuple[Primary, ShadowPart]:
    """Return a pair whose bodies, heads and texts have ``size`` bytes each."""
    lines = b"content-type: application/json\r\nx-junk: " + b"j" * size + b"\r\n"
    key = b'{"%b":' % (b"k" * size)
    primary = primary_part(
        version=1,
        flags=Flag.MIRRORED | Flag.SHOWN,
        request_body=b"b" * size,
        request_head=lines,
        response_head=lines,
        target=b"t" * size,
        traceparent=b"p" * size,
        request_id=b"i" * size,
        unit=b"u" * size,
        response_lines=lines,
        response_body=key + b"1}",
    )
    return primary, shadow_part(version=1, response_lines=lines, response_body=key + b"2}")


def bytes_of(value: Any, seen: set[int] | None = None) -> int:
    """Return the bytes of every text and byte string that hangs on ``value``, each counted once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, tuple | list):
        return sum(bytes_of(each, seen) for each in value)
    if isinstance(value, dict):
        return sum(bytes_of(each, seen) for each in value.values())
    names = getattr(type(value), "__slots__", ())
    return sum(bytes_of(getattr(value, name), seen) for name in names)


@pytest.mark.parametrize("size", [0, 1000, 20_000, 100_000, 1_000_000, 5_000_000])
async def test_examples_are_bounded_in_bytes(tmp_path: Path, size: int) -> None:
    """However long bodies, heads, ids and keys are: what is kept weighs no more than it may, and is kept."""
    bench = Bench(tmp_path, BASE_CONFIG.replace("as: classification", "as: json"))
    primary, part = sized(size)
    # A pair of 5 MB takes a fifth of a second, and alone is more than all may weigh.
    for number in range(60 if size < 5_000_000 else 6):
        bench.settle(replace(primary, number=number), part)
    known = bench.known()
    seen: set[int] = set()
    kept = sum(
        bytes_of([each.primary, each.part, each.comparison, each.slices, each.unit], seen)
        for each in [*known.newest, *known.extreme]
    )
    assert known.newest
    assert kept <= 4 << 20
    (book,) = [each for each in bench.book._books.values() if each.key.shadow == "wine-v4"]
    assert kept <= book.examples.weight <= 4 << 20
    assert all(each.is_stripped for each in known.newest) is (size >= 100_000)
    await bench.close()


async def test_many_shadows_share_the_bytes(tmp_path: Path) -> None:
    """More shadows do not mean more memory."""
    shadows = "\n".join(f"      - {{model: m{i}}}" for i in range(30))
    models = "\n".join(f'  m{i}: {{url: "http://10.0.1.{i}:80"}}' for i in range(30))
    text = BASE_CONFIG.replace("models:\n", f"models:\n{models}\n").replace(
        "    shadows:\n", f"    shadows:\n{shadows}\n"
    )
    bench = Bench(tmp_path, text)
    assert sum(book.examples.budget_bytes for book in bench.book._books.values()) <= EXAMPLES_BYTES
    await bench.close()


# The disk


class Stuck:
    """Opens a store that is slow, or refuses."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.files: list[BreakdownStore] = []

    def __call__(self, directory: Path, wall_ns: int) -> BreakdownStore:
        if self.error is not None:
            raise self.error
        self.files.append(open_breakdowns(directory, wall_ns))
        return self.files[-1]


@pytest.fixture
async def stuck() -> Stuck:
    return Stuck()


async def test_a_disk_that_refuses(tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting goes on, the failure is told, and what was counted is written when the disk is back."""
    monkeypatch.setattr("proxy.engine.store_thread.REOPEN_NS", 0)
    stuck.error = StoreError("no space")
    bench = Bench(tmp_path, BASE_CONFIG, FileThread(tmp_path, stuck, "counts"))
    bench.pair(2)
    assert not await bench.book.save(5.0)
    assert (bench.book.shelf.failures, bench.book.shelf.problem) == (1, "no space")
    bench.pair(2)
    stuck.error = None
    assert await bench.book.save(5.0)
    assert bench.total() == (0, 2, 0)
    assert bench.book.shelf.problem == ""
    await bench.close()
    again = Bench(tmp_path)
    assert await again.book.save(5.0)
    assert again.total() == (0, 2, 0)
    await again.close()


async def test_a_file_that_is_deleted(bench: Bench) -> None:
    """Whoever deletes the file gets a new one with everything that is known."""
    bench.pair(2)
    assert await bench.book.save(5.0)
    directory = bench.book.shelf.directory
    for name in ("", "-wal", "-shm"):
        (directory / f"{FILE_NAME}{name}").unlink(missing_ok=True)
    bench.pair(1)
    assert await bench.book.save(5.0)
    assert await bench.book.save(5.0)
    await bench.close()
    again = Bench(directory)
    assert await again.book.save(5.0)
    assert again.total() == (1, 1, 0)
    await again.close()


async def test_a_disk_that_is_slow(tmp_path: Path) -> None:
    """What is on its way is not sent again: it counts once, whenever it arrives."""
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(FileThread[BreakdownStore]):
        def submit(self, act: Callable[[BreakdownStore], Any]) -> Any:
            def wait(store: BreakdownStore) -> Any:
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
                return act(store)

            return super().submit(wait)

    bench = Bench(tmp_path, BASE_CONFIG, Slow(tmp_path, open_breakdowns, "counts"))
    bench.pair(2)
    assert not await bench.book.save(0.01)
    bench.pair(2)
    assert not await bench.book.save(0.01)
    gate.set()
    assert await bench.book.save(5.0)
    assert await bench.book.save(5.0)
    await bench.close()
    again = Bench(tmp_path)
    assert await again.book.save(5.0)
    assert again.total() == (0, 2, 0)
    await again.close()


async def test_it_keeps_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once begun it writes now and then, and what is left when it ends."""
    monkeypatch.setattr("proxy.observer.disagreements.SAVE_EVERY_S", 0.001)
    bench.book.start()
    bench.book.start()
    bench.pair(2)
    async with asyncio.timeout(10):
        while not (bench.book.shelf.directory / FILE_NAME).exists():  # noqa: ASYNC110 - a file does not tell
            await asyncio.sleep(0.001)
    bench.pair(2)
    await bench.close()
    again = Bench(bench.book.shelf.directory)
    assert await again.book.save(5.0)
    assert again.total() == (0, 2, 0)
    await again.close()


def digests(text: str) -> Iterator[str]:
    """Yield what tells the stretches of a configuration apart."""
    route = table_of(text).routes[0]
    yield showing_digest(route)
    yield from (stretch_key(route, shadow).digest for shadow in route.shadows)


def test_digests_are_those_of_the_content() -> None:
    """The same settings have the same digests in every process, and the two shadows differ."""
    assert list(digests(BASE_CONFIG)) == list(digests(BASE_CONFIG))
    assert len(set(digests(BASE_CONFIG))) == 3
