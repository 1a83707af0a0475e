"""What killed supervisors leave: found by its owner, kept until it is let go, never more than a few."""

import os
from pathlib import Path

import pytest

from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import FIELDS
from proxy.evidence.remnants import let_go, lock_observer, lock_workers, remnants
from proxy.remnants import MAX_REMNANTS, OBSERVER_S, claim_remnants
from proxy.rundir import run_directory, take_over

OWNER = "1:2:/var/lib/modelproxy"


def left(parent: Path, name: str, owner: str = OWNER, *, evidence: bool = True, begun: int = 1000) -> Path:
    """Make the directory of a supervisor that was killed a moment ago."""
    path = parent / f"modelproxy-{name}"
    path.mkdir()
    (path / "supervisor.lock").touch()
    (path / "owner").write_text(owner)
    os.utime(path / "owner", (begun, begun))
    if evidence:
        open_evidence(path, "0123456789abcdef", 0, FIELDS).close()
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "ours"
    path.mkdir()
    return path


def names(paths: dict[str, Path]) -> set[str]:
    return {name.removeprefix("modelproxy-") for name in paths}


def test_only_the_owner_gets_it(tmp_path: Path, ours: Path) -> None:
    """What belongs to another state directory, to nobody that is known, or to one who lives, is left alone."""
    mine = left(tmp_path, "mine")
    strange = [left(tmp_path, "other", "1:3:/elsewhere"), left(tmp_path, "nobody", "")]
    alive = left(tmp_path, "alive")
    living = take_over(alive)
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        assert remnants(ours) == {mine.name: mine}
        assert len(found) == 1
        assert take_over(mine) is None, "nobody else removes it"
    assert living is not None
    assert all(path.is_dir() for path in (mine, *strange, alive))
    with claim_remnants(ours, "", (tmp_path,)) as found:
        assert len(found) == 0


def test_it_goes_when_it_is_let_go(tmp_path: Path, ours: Path) -> None:
    """Not before, and not while an observer still reads there, unless that hangs."""
    first, second = left(tmp_path, "first"), left(tmp_path, "second")
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        found.look()
        assert first.exists()
        let_go(ours, first.name)
        found.look()
        assert (first.exists(), second.exists()) == (False, True)
        observer = lock_observer(second)
        let_go(ours, second.name)
        found.look()
        assert second.exists()
        os.close(observer)
        found.look()
        assert not second.exists()
        assert (len(found), found.dropped) == (0, 0)
    assert list(tmp_path.iterdir()) == [ours]


def test_an_observer_that_hangs_is_waited_for_a_while(
    tmp_path: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute after it was let go, it is removed."""
    now_s = 5.0
    monkeypatch.setattr("proxy.remnants.monotonic", lambda: now_s)
    dead = left(tmp_path, "dead")
    observer = lock_observer(dead)
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        let_go(ours, dead.name)
        found.look()
        now_s += OBSERVER_S - 1
        found.look()
        assert dead.exists()
        now_s += 1
        found.look()
        assert not dead.exists()
    os.close(observer)


async def test_it_looks_until_nothing_is_left(
    tmp_path: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shows them is told; then it has nothing more to do."""
    monkeypatch.setattr("proxy.remnants.LOOK_S", 0.0)
    dead = left(tmp_path, "dead")
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        let_go(ours, dead.name)
        left_then: list[int] = []
        await found.run(lambda: left_then.append(len(found)))
        assert left_then == [0]
        assert not dead.exists()


def test_who_is_killed_again_leaves_both(tmp_path: Path, ours: Path) -> None:
    """A remnant that was not let go is found again by the next one, beside its predecessor's own directory."""
    left(tmp_path, "first", begun=1)
    left(tmp_path, "second", begun=2)
    with claim_remnants(ours, OWNER, (tmp_path,)):
        pass
    again = tmp_path / "again"
    again.mkdir()
    with claim_remnants(again, OWNER, (tmp_path,)):
        assert names(remnants(again)) == {"first", "second"}


def test_there_are_never_too_many(tmp_path: Path, ours: Path) -> None:
    """The oldest are dropped, which is counted."""
    for number in range(MAX_REMNANTS + 2):
        left(tmp_path, str(number), begun=1000 + number)
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        assert (len(found), found.dropped) == (MAX_REMNANTS, 2)
        assert names(remnants(ours)) == {str(number) for number in range(2, MAX_REMNANTS + 2)}
    assert not (tmp_path / "modelproxy-0").exists()


def test_what_has_no_evidence_goes_at_once(tmp_path: Path, ours: Path) -> None:
    """But not under the feet of workers that finish."""
    empty, busy = left(tmp_path, "empty", evidence=False), left(tmp_path, "busy", evidence=False)
    workers = lock_workers(busy)
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        assert (len(found), found.dropped) == (0, 0)
    assert (empty.exists(), busy.exists()) == (False, True)
    os.close(workers)


def test_without_space_it_stays_for_the_next_start(
    tmp_path: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be followed is not lost."""
    dead = left(tmp_path, "dead")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("proxy.remnants.follow_remnant", full)
    with claim_remnants(ours, OWNER, (tmp_path,)) as found:
        assert (len(found), found.dropped) == (0, 0)
        assert take_over(dead) is not None
    assert dead.exists()


def test_a_supervisor_that_is_killed_is_found(tmp_path: Path, ours: Path) -> None:
    """What a run directory says of itself is what the next start looks for."""
    with run_directory((tmp_path,), OWNER) as run:
        open_evidence(run.path, "0123456789abcdef", 0, FIELDS).close()
    with claim_remnants(ours, OWNER, (tmp_path,)):
        assert remnants(ours) == {run.path.name: run.path}
