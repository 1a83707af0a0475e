"""The book of pairs: what is complete, what expires, what is evicted; no part is lost or given out twice."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import Primary, ShadowPart
from proxy.observer.pairing import FRAME_OVERHEAD_BYTES, Pair, PairBook, frame_weight
from tests.observer.exchanges import primary_part, shadow_part

SECOND_NS = 1_000_000_000


def make_book(max_items: int = 100, max_bytes: int = 1 << 20, timeout_ns: int = 60 * SECOND_NS) -> PairBook:
    return PairBook(max_items=max_items, max_bytes=max_bytes, timeout_ns=timeout_ns)


def drain(pop: Callable[[], Pair | None]) -> list[Pair]:
    pairs = []
    while (pair := pop()) is not None:
        pairs.append(pair)
    return pairs


def number_of(pair: Pair) -> int:
    parts: list[Primary | ShadowPart] = [*pair.shadows.values(), *([pair.primary] if pair.primary else ())]
    assert len({part.number for part in parts}) == 1
    return parts[0].number


def test_a_primary_without_shadows_is_complete_at_once() -> None:
    """A primary that announces no shadow leaves the book as it comes."""
    book = make_book()
    (pair,) = book.add(1, primary_part(shadows_sent=0), 0)
    assert pair.primary == primary_part(shadows_sent=0)
    assert (len(book), book.weight) == (0, 0)


def test_parts_pair_in_any_order() -> None:
    """A pair is complete with the last of its parts, whichever that is."""
    parts: list[Primary | ShadowPart] = [
        primary_part(shadows_sent=0b11),
        shadow_part(),
        shadow_part(shadow=1),
    ]
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
        book = make_book()
        assert not book.add(1, parts[order[0]], 0)
        assert not book.add(1, parts[order[1]], 0)
        (pair,) = book.add(1, parts[order[2]], 0)
        assert pair.primary == parts[0]
        assert pair.shadows == {0: parts[1], 1: parts[2]}
        assert (len(book), book.weight) == (0, 0)


def test_only_announced_shadows_are_waited_for() -> None:
    """Shadow 1 alone completes a primary that announced only shadow 1."""
    book = make_book()
    assert not book.add(1, primary_part(shadows_sent=0b10), 0)
    (pair,) = book.add(1, shadow_part(shadow=1), 0)
    assert list(pair.shadows) == [1]


def test_other_boots_and_workers_are_other_exchanges() -> None:
    """The same number of another boot or worker is no match."""
    book = make_book()
    book.add(1, primary_part(), 0)
    assert not book.add(2, shadow_part(), 0)
    assert not book.add(1, shadow_part(worker=1), 0)
    assert len(book) == 3


def test_expiry_is_by_first_part_and_oldest_first() -> None:
    """A pair expires when its first part is as old as the timeout, not before, and not because of others."""
    book = make_book(timeout_ns=10)
    book.add(1, primary_part(number=1), 100)
    book.add(1, primary_part(number=2), 105)
    book.add(1, shadow_part(number=3), 110)
    assert drain(lambda: book.pop_expired(109)) == []
    assert [number_of(pair) for pair in drain(lambda: book.pop_expired(115))] == [1, 2]
    book.timeout_ns = 1
    assert [number_of(pair) for pair in drain(lambda: book.pop_expired(115))] == [3]
    assert book.weight == 0


def test_overflow_in_items_evicts_the_oldest() -> None:
    """Over the bound on items the oldest pairs leave until the rest fit."""
    book = make_book(max_items=2)
    for number in range(4):
        book.add(1, primary_part(number=number), 0)
    assert [number_of(pair) for pair in drain(book.pop_overflow)] == [0, 1]
    assert len(book) == 2


def test_overflow_in_bytes_evicts_the_oldest() -> None:
    """Over the bound on bytes the oldest pairs leave; a body counts with its length, a frame with its overhead."""
    part = primary_part(response_body=b"x" * 5000)
    assert frame_weight(part) > FRAME_OVERHEAD_BYTES + 5000
    book = make_book(max_bytes=2 * frame_weight(part))
    for number in range(3):
        book.add(1, primary_part(number=number, response_body=b"x" * 5000), 0)
    assert [number_of(pair) for pair in drain(book.pop_overflow)] == [0]


def test_a_repeated_part_gives_back_the_older_exchange() -> None:
    """A part that is there already closes the older exchange as it is; the new one starts afresh."""
    book = make_book()
    book.add(1, shadow_part(status=200), 0)
    (older,) = book.add(1, shadow_part(status=500), 0)
    assert older.shadows[0].status == 200
    assert len(book) == 1
    book.add(1, primary_part(number=9), 0)
    again = book.add(1, primary_part(number=9, shadows_sent=0), 0)
    assert [pair.primary is not None for pair in again] == [True, True]


def test_take_worker_leaves_the_others() -> None:
    """Only the pairs of the named worker leave, oldest first."""
    book = make_book()
    for number, worker in enumerate([0, 1, 0]):
        book.add(1, primary_part(number=number, worker=worker), 0)
    assert [number_of(pair) for pair in book.take_worker(0)] == [0, 2]
    assert len(book) == 1


PARTS = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 1),
        st.integers(0, 5),
        st.integers(0, 2),
        st.integers(0, 7),
    ),
    max_size=60,
)


@given(PARTS, st.integers(1, 4), st.sampled_from([0, 3, 1000]))
def test_every_part_leaves_exactly_once(
    parts: list[tuple[bool, int, int, int, int]], max_items: int, timeout_ns: int
) -> None:
    """Whatever comes in whatever order, each part is given back exactly once, and the weight ends at 0."""
    book = make_book(max_items=max_items, timeout_ns=timeout_ns)
    left: list[Pair] = []
    for now, (is_primary, worker, number, shadow, sent) in enumerate(parts):
        part: Primary | ShadowPart
        if is_primary:
            part = primary_part(worker=worker, number=number, shadows_sent=sent, started_wall_ns=now)
        else:
            part = shadow_part(worker=worker, number=number, shadow=shadow, started_wall_ns=now)
        left += book.add(1, part, now)
        left += drain(book.pop_overflow)
        assert len(book) <= max_items
        left += drain(lambda now=now: book.pop_expired(now))  # type: ignore[misc]
    left += book.take_worker(0) + book.take_worker(1)
    primaries = sorted(pair.primary.started_wall_ns for pair in left if pair.primary is not None)
    shadows = sorted(part.started_wall_ns for pair in left for part in pair.shadows.values())
    assert primaries == [i for i, part in enumerate(parts) if part[0]]
    assert shadows == [i for i, part in enumerate(parts) if not part[0]]
    assert (len(book), book.weight) == (0, 0)
