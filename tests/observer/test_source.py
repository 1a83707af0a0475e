"""The count reader never shows less than before, whatever the supervisor does meanwhile."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from proxy.observer.accounting import merge
from proxy.observer.source import CountReader
from proxy.tally import Key
from tests.observer.world import World

STARTED: Key = ("variant", "started", "wine", "v1", "wine-v1")


def started(reader: CountReader, world: World) -> int:
    return merge(reader.read(world.tables).values())[STARTED]


def test_versions_are_read_apart(tmp_path: Path) -> None:
    """Counts of two versions are kept apart, of two workers added up."""
    world = World(tmp_path)
    world.serve(number=3, writer="w0")
    world.serve(number=4, writer="w1")
    world.publish()
    world.serve(number=5)
    counts = CountReader(tmp_path).read(world.tables)
    assert {version: counts[version][STARTED] for version in (1, 2)} == {1: 7, 2: 5}


def test_a_retired_version_counts_until_it_is_folded(tmp_path: Path) -> None:
    """Between the observer's forgetting a version and its fold, its counts stay visible."""
    world = World(tmp_path)
    old = world.tables[1]
    world.serve(number=3)
    reader = CountReader(tmp_path)
    assert started(reader, world) == 3
    world.publish()
    world.retire(1)
    assert started(reader, world) == 3
    world.fold(old)
    assert started(reader, world) == 3
    assert set(reader.read(world.tables)) == {0, 2}


@given(steps=st.lists(st.sampled_from(["serve", "publish", "retire", "fold", "restart"]), max_size=25))
def test_counts_never_go_backwards(tmp_path_factory: object, steps: list[str]) -> None:
    """Traffic, reloads, retirements, folds and restarts of the reader in any order leave the total exact."""
    world = World(tmp_path_factory.mktemp("run"))  # type: ignore[attr-defined]
    reader, served = CountReader(world.run_dir), 0
    retired = []
    for step in steps:
        assert world.current is not None
        if step == "serve":
            world.serve()
            served += 1
        elif step == "publish":
            world.publish()
        elif step == "retire":
            for version in [v for v in world.tables if v != world.current.version]:
                retired.append(world.tables[version])
                world.retire(version)
        elif step == "fold":
            while retired:
                world.fold(retired.pop())
        else:
            # A new reader is told every version that is not folded, as the supervisor does.
            world.tables |= {table.version: table for table in retired}
            retired.clear()
            reader = CountReader(world.run_dir)
        assert served == started(reader, world)
