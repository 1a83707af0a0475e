"""Shared counters: nothing is lost, nothing is double, nothing goes backwards."""

import resource
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import tally
from proxy.tally import (
    OBSERVER_COUNTERS,
    OBSERVER_FIELDS,
    SINK_FIELDS,
    Layout,
    block_path,
    fold,
    fold_earlier,
    follow,
    leave_layouts,
    open_block,
    read_all,
    read_slots,
    sink_path,
)

LAYOUT = Layout.of(
    [
        ("worker", (), ("opened", "closed")),
        ("variant", ("wine", "v1", "m1"), ("started", "code_200")),
        ("variant", ("wine", "v2", "m2"), ("started", "code_200")),
    ]
)
OBSERVER_LAYOUT = Layout.of([("sink", ("wine",), ("written",))])
BOTH = {"w": LAYOUT, "o": OBSERVER_LAYOUT}
STARTED_V1 = ("variant", "started", "wine", "v1", "m1")
WRITTEN = ("sink", "written", "wine")


def add(run_dir: Path, writer: str, version: int, slot: int, number: int = 1) -> None:
    """Count as a writer does: map, add, unmap."""
    layout = BOTH[writer[0]]
    block = open_block(block_path(run_dir, writer, version), layout.size)
    block.slots[slot] += number
    block.close()


def total(run_dir: Path, *versions: int) -> "Counter[tuple[str, ...]]":
    """Add up everything that is known of ``versions`` and what was folded."""
    return sum(read_all(run_dir, dict.fromkeys(versions, BOTH)).values(), Counter())


def test_sections_lie_one_after_the_other() -> None:
    """Each section starts where the one before it ends, and the layout is as long as all of them."""
    assert [section.base for section in LAYOUT.sections] == [0, 2, 4]
    assert LAYOUT.size == 6
    assert LAYOUT.section("variant", "wine", "v2", "m2").slot("code_200") == 5


def test_unknown_section_is_a_key_error() -> None:
    """Asking for labels that do not exist names them."""
    with pytest.raises(KeyError, match="v9"):
        LAYOUT.section("variant", "wine", "v9", "m1")


def test_counts_are_named_and_zeros_left_out() -> None:
    """A block's integers become (kind, field, *labels)."""
    assert LAYOUT.counts([1, 0, 7, 0, 0, 5]) == Counter(
        {("worker", "opened"): 1, STARTED_V1: 7, ("variant", "code_200", "wine", "v2", "m2"): 5}
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.lists(st.sampled_from("xyz"), max_size=2).map(tuple),
            st.lists(st.sampled_from("pqrs"), min_size=1, max_size=4, unique=True).map(tuple),
        ),
        max_size=6,
        unique_by=lambda part: part[:2],
    ),
    st.data(),
)
def test_every_slot_has_one_name(parts: list[tuple[str, Any, Any]], data: st.DataObject) -> None:
    """Every slot of any layout is one count with a name of its own, found again by its section."""
    layout = Layout.of(parts)
    values = data.draw(st.lists(st.integers(1, 2**63), min_size=layout.size, max_size=layout.size))
    named = layout.counts(values)
    assert len(named) == layout.size
    for (kind, field, *labels), number in named.items():
        assert values[layout.section(kind, *labels).slot(field)] == number


def test_a_new_block_is_all_zeros_and_private(tmp_path: Path) -> None:
    """A block starts at nothing, and only its owner may read the file."""
    block = open_block(tmp_path / "w0-1.tally", 6)
    assert block.slots.tolist() == [0] * 6
    assert (tmp_path / "w0-1.tally").stat().st_mode & 0o777 == 0o600
    block.close()


def test_a_successor_goes_on_where_the_dead_writer_stopped(tmp_path: Path) -> None:
    """Counts outlive their writer: the next one maps the same integers."""
    add(tmp_path, "w0", 1, 2, 41)
    add(tmp_path, "w0", 1, 2)
    assert Counter({STARTED_V1: 42}) == total(tmp_path, 1)


def test_a_reader_sees_a_count_at_once(tmp_path: Path) -> None:
    """No flush is needed between a count and a reader of the file."""
    path = block_path(tmp_path, "w0", 1)
    block = open_block(path, 6)
    block.slots[3] += 1
    assert read_slots(path, 6) == [0, 0, 0, 1, 0, 0]
    block.close()


def test_slots_hold_64_bits(tmp_path: Path) -> None:
    """The largest unsigned 64-bit integer goes through."""
    add(tmp_path, "w0", 1, 0, 2**64 - 1)
    assert read_slots(block_path(tmp_path, "w0", 1), 1) == [2**64 - 1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, [0, 0]),
        (b"", [0, 0]),
        (b"\x01", [0, 0]),
        ((5).to_bytes(8, "little") + b"\x01\x02", [5, 0]),
        ((5).to_bytes(8, "little") * 3, [5, 5]),
    ],
    ids=["gone", "empty", "one byte", "cut", "longer"],
)
def test_a_file_that_is_gone_or_growing_reads_as_zeros(
    tmp_path: Path, content: bytes | None, expected: list[int]
) -> None:
    """What is not there yet counts nothing, and is no error."""
    path = tmp_path / "w0-1.tally"
    if content is not None:
        path.write_bytes(content)
    assert expected == read_slots(path, 2)


def test_workers_and_the_observer_add_up_by_version(tmp_path: Path) -> None:
    """Reading merges the writers and keeps the versions apart."""
    add(tmp_path, "w0", 1, 2, 1)
    add(tmp_path, "w1", 1, 2, 2)
    add(tmp_path, "w10", 2, 2, 4)
    add(tmp_path, "o0", 1, 0, 8)
    assert read_all(tmp_path, {1: BOTH, 2: BOTH}) == {
        0: Counter(),
        1: Counter({STARTED_V1: 3, WRITTEN: 8}),
        2: Counter({STARTED_V1: 4}),
    }


def test_version_1_does_not_read_version_11(tmp_path: Path) -> None:
    """Versions whose numbers begin alike are different files."""
    add(tmp_path, "w0", 11, 2, 5)
    assert Counter() == total(tmp_path, 1)


def test_fold_keeps_the_total_and_frees_the_files(tmp_path: Path) -> None:
    """A folded version is counted once, in the base, and its files are gone."""
    add(tmp_path, "w0", 1, 2, 3)
    add(tmp_path, "o0", 1, 0, 2)
    add(tmp_path, "w0", 2, 2, 4)
    before = total(tmp_path, 1, 2)
    fold(tmp_path, 1, BOTH)
    assert before == total(tmp_path, 1, 2)
    assert read_all(tmp_path, {1: BOTH, 2: BOTH})[0] == Counter({STARTED_V1: 3, WRITTEN: 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.json", "w0-2.tally"]


def test_folding_again_changes_nothing(tmp_path: Path) -> None:
    """A fold that is repeated does not count twice."""
    add(tmp_path, "w0", 1, 2, 3)
    fold(tmp_path, 1, BOTH)
    fold(tmp_path, 1, BOTH)
    assert Counter({STARTED_V1: 3}) == total(tmp_path, 1)


def test_a_fold_cut_short_before_the_files_went_is_finished_by_the_next(tmp_path: Path) -> None:
    """After a crash between base and deletion the counts are right, and the next fold removes the files."""
    add(tmp_path, "w0", 1, 2, 3)
    left = block_path(tmp_path, "w0", 1).read_bytes()
    fold(tmp_path, 1, BOTH)
    block_path(tmp_path, "w0", 1).write_bytes(left)
    assert Counter({STARTED_V1: 3}) == total(tmp_path, 1)
    fold(tmp_path, 1, BOTH)
    assert Counter({STARTED_V1: 3}) == total(tmp_path, 1)
    assert not block_path(tmp_path, "w0", 1).exists()


def test_a_fold_that_cannot_write_deletes_nothing(tmp_path: Path) -> None:
    """When the base cannot be written the error goes up and every count is still there."""
    add(tmp_path, "w0", 1, 2, 3)
    (tmp_path / "base.json.new").mkdir()
    with pytest.raises(OSError, match=r"base\.json\.new"):
        fold(tmp_path, 1, BOTH)
    assert Counter({STARTED_V1: 3}) == total(tmp_path, 1)


def test_a_fold_during_a_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is folded between the base and its files is read again, so no total goes backwards."""
    add(tmp_path, "w0", 1, 2, 3)
    add(tmp_path, "w0", 2, 2, 4)
    read = tally._read_version
    folds = iter([1])

    def fold_first(run_dir: Path, version: int, layouts: Any) -> "Counter[tuple[str, ...]]":
        for folded in folds:
            fold(run_dir, folded, BOTH)
        return read(run_dir, version, layouts)

    with monkeypatch.context() as patch:
        patch.setattr(tally, "_read_version", fold_first)
        assert Counter({STARTED_V1: 7}) == total(tmp_path, 1, 2)


def test_base_is_plain_json(tmp_path: Path) -> None:
    """What was folded can be read by a person."""
    add(tmp_path, "w0", 1, 2, 3)
    fold(tmp_path, 1, BOTH)
    assert orjson.loads((tmp_path / "base.json").read_bytes()) == {
        "folded": [1],
        "counts": [[*STARTED_V1, 3]],
        "earlier": [],
    }


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from([1, 2, 3]), st.integers(0, 5)),
            st.tuples(st.just("fold"), st.sampled_from([1, 2, 3]), st.just(0)),
        ),
        max_size=25,
    )
)
def test_totals_are_what_was_counted(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    """Any order of counting and folding gives the sum of what was counted."""
    run_dir = tmp_path_factory.mktemp("run")
    expected = 0
    over: set[int] = set()
    for step, version, slot in steps:
        if step == "fold":
            fold(run_dir, version, BOTH)
            over.add(version)
        elif version not in over:
            add(run_dir, "w0", version, slot)
            expected += 1
        assert expected == sum(total(run_dir, 1, 2, 3).values())


def test_a_block_owns_its_space(tmp_path: Path) -> None:
    """The space is taken when the block is made, so a disk that fills up later kills no writer."""
    open_block(tmp_path / "w0-1.tally", 4096).close()
    status = (tmp_path / "w0-1.tally").stat()
    assert status.st_blocks * 512 >= status.st_size == 4096 * 8


def test_no_space_is_an_error_when_the_block_is_made(tmp_path: Path) -> None:
    """Where the file cannot grow opening raises OSError, and succeeds once it can."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    try:
        with pytest.raises(OSError, match="large"):
            open_block(tmp_path / "w0-1.tally", 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    add(tmp_path, "w0", 1, 2, 3)
    assert Counter({STARTED_V1: 3}) == total(tmp_path, 1)


def test_a_block_keeps_its_counts_when_it_grows(tmp_path: Path) -> None:
    """A file that is too short for the layout is made longer and its integers stay."""
    (tmp_path / "w0-1.tally").write_bytes((9).to_bytes(8, "little"))
    block = open_block(tmp_path / "w0-1.tally", 3)
    assert block.slots.tolist() == [9, 0, 0]
    block.close()


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The run directory of the program before: one version folded, two that still count, the observer's own."""
    run_dir = tmp_path / "before"
    run_dir.mkdir()
    for version in (1, 2, 3):
        add(run_dir, "w0", version, 2, version)
        add(run_dir, "w1", version, 2, 10 * version)
    add(run_dir, "o0", 3, 0, 5)
    fold(run_dir, 1, BOTH)
    own = open_block(run_dir / OBSERVER_COUNTERS, len(OBSERVER_FIELDS))
    own.slots[OBSERVER_FIELDS.index("errors")] = 4
    own.close()
    sink = open_block(sink_path(run_dir, "kafka.eu"), len(SINK_FIELDS))
    sink.slots[SINK_FIELDS.index("written")] = 7
    sink.close()
    leave_layouts(run_dir, {2: BOTH, 3: BOTH})
    return run_dir


@pytest.fixture
def after(tmp_path: Path, before: Path) -> Path:
    """The run directory of the program after."""
    run_dir = tmp_path / "after"
    run_dir.mkdir()
    follow(run_dir, before)
    return run_dir


ALL_BEFORE = Counter(
    {STARTED_V1: 66, WRITTEN: 5, ("observer", "errors"): 4, ("delivery", "written", "kafka.eu"): 7}
)


def test_the_program_before_is_read_by_name(before: Path, after: Path) -> None:
    """Its counts are part of what was folded, also those that its processes still add."""
    add(after, "w0", 4, 2, 100)
    assert total(after, 4) == ALL_BEFORE + Counter({STARTED_V1: 100})
    add(before, "w0", 3, 2)
    assert read_all(after, {})[0] == ALL_BEFORE + Counter({STARTED_V1: 1})


def test_the_program_before_is_folded_once(before: Path, after: Path) -> None:
    """After the fold its files do not matter any more, and what was under way is settled."""

    def settle(counts: "Counter[tuple[str, ...]]") -> "Counter[tuple[str, ...]]":
        return counts + Counter({("variant", "lost", "wine", "v1", "m1"): 66})

    fold_earlier(after, settle)
    add(before, "w0", 3, 2)
    expected = ALL_BEFORE + Counter({("variant", "lost", "wine", "v1", "m1"): 66})
    assert read_all(after, {}) == {0: expected}
    follow(after, before)  # as if the link had not been removed any more
    fold_earlier(after, settle)
    fold_earlier(after, settle)
    assert read_all(after, {}) == {0: expected}


def test_a_fold_of_the_program_before_while_it_is_read(
    before: Path, after: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader in the middle sees each count once."""
    read_by_name = tally._read_by_name

    def fold_first(run_dir: Path) -> "Counter[tuple[str, ...]]":
        monkeypatch.setattr(tally, "_read_by_name", read_by_name)
        fold_earlier(after, lambda counts: counts)
        return read_by_name(run_dir)

    monkeypatch.setattr(tally, "_read_by_name", fold_first)
    assert read_all(after, {}) == {0: ALL_BEFORE}


def test_a_program_before_that_is_gone_counts_as_folded(tmp_path: Path, after: Path) -> None:
    """Somebody has removed its directory: what is left is counted, and nothing fails."""
    (tmp_path / "before").rename(tmp_path / "elsewhere")
    add(after, "w0", 4, 2, 100)
    assert total(after, 4) == Counter({STARTED_V1: 100})
    fold_earlier(after, lambda counts: counts)
    assert total(after, 4) == Counter({STARTED_V1: 100})


def test_nothing_before_is_nothing_to_fold(tmp_path: Path) -> None:
    """A start like any other has no program before."""
    fold_earlier(tmp_path, lambda counts: counts)
    assert read_all(tmp_path, {}) == {0: Counter()}
