"""The observer behind the workers: by process and by session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.observer import priority
from proxy.observer.priority import AUTOGROUP, NICER_BY, NICEST, give_way_as_session, make_session_nicer

SHOW = """
import asyncio, os, threading
from proxy.observer.priority import AUTOGROUP, give_way, give_way_as_session
before = os.getpriority(os.PRIO_PROCESS, 0)
give_way()
seen = []
thread = threading.Thread(target=lambda: seen.append(os.getpriority(os.PRIO_PROCESS, 0)))
thread.start()
thread.join()
was_weighed = asyncio.run(give_way_as_session())
print(before, os.getpriority(os.PRIO_PROCESS, 0), seen[0], was_weighed)
if was_weighed:
    print(AUTOGROUP.read_text())
"""


def test_a_process_gives_way_with_its_threads_and_its_session() -> None:
    """A process of a session of its own is nicer than before, so are its later threads, and so is the session."""
    words = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, start_new_session=True
    ).stdout.split()
    before, after, thread = map(int, words[:3])
    assert after == min(before + NICER_BY, NICEST)
    assert thread == after
    assert (words[3] == "True") == AUTOGROUP.exists()
    if AUTOGROUP.exists():
        assert words[-1] == str(NICER_BY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/autogroup-12 nice 0\n", "10"),
        ("/autogroup-12 nice -5\n", "5"),
        ("/autogroup-12 nice 15\n", "19"),
        ("", ""),
        ("?", "?"),
    ],
)
async def test_a_session_is_made_nicer_by_as_much(tmp_path: Path, before: str, after: str) -> None:
    """The session's niceness is raised from where it is, to the greatest at most; what is not understood is left."""
    path = tmp_path / "autogroup"
    path.write_text(before)
    assert await make_session_nicer(path) == (before != after)
    assert path.read_text() == after


async def test_a_session_with_others_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not lead its session would make others nicer, and does not."""
    monkeypatch.setattr(os, "getsid", lambda _pid: os.getpid() + 1)
    monkeypatch.setattr(priority, "AUTOGROUP", None)
    assert not await give_way_as_session()


async def test_no_autogroups(tmp_path: Path) -> None:
    """Where the system has no such file there is nothing to do."""
    assert not await make_session_nicer(tmp_path / "none")


@pytest.mark.parametrize(("refused", "is_told"), [(1, True), (3, True), (1000, False)])
async def test_the_kernel_is_asked_again_when_it_was_asked_too_often(
    monkeypatch: pytest.MonkeyPatch, refused: int, is_told: bool
) -> None:
    """A word that came too soon after somebody else's is said again, some times and not for ever."""
    said: list[str] = []

    class Busy:
        def read_text(self) -> str:
            return "/autogroup-1 nice 0\n"

        def write_text(self, text: str) -> None:
            said.append(text)
            if len(said) <= refused:
                raise BlockingIOError

    monkeypatch.setattr(priority, "_PAUSE_S", 0.0)
    assert await make_session_nicer(Busy()) is is_told  # type: ignore[arg-type]
    assert set(said) == {str(NICER_BY)}


def test_a_process_that_may_not_be_nicer_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that forbids even this stops nothing."""

    def forbid(_by: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "nice", forbid)
    priority.give_way()
