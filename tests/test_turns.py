"""Who wants to be alone waits for those in the room, and those that come later wait for it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from proxy.clock import monotonic
from tests.turns import in_the_room

PATIENCE_S = 20.0


class House:
    """A room of its own, and in which order threads were in it."""

    def __init__(self, folder: Path) -> None:
        self.door, self.room = folder / "door", folder / "room"
        self.door.touch()
        self.room.mkdir()
        self.seen: list[str] = []

    def visit(self, name: str, is_alone: bool, until: Callable[[], object] = lambda: None) -> None:
        """Enter, note it, stay, and note the end."""
        with in_the_room(is_alone, self.door, self.room):
            self.seen.append(f"{name} enters")
            until()
            self.seen.append(f"{name} leaves")

    def wait_until_somebody_stands_in_the_door(self) -> None:
        """Return when a visitor cannot enter at once."""
        deadline = monotonic() + PATIENCE_S
        door = os.open(self.door, os.O_RDONLY)
        try:
            while monotonic() < deadline:
                try:
                    fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                fcntl.flock(door, fcntl.LOCK_UN)
        finally:
            os.close(door)
        raise AssertionError("nobody waits")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_several_at_once(house: House, threads: ThreadPoolExecutor) -> None:
    """Who does not mind others is not kept waiting by them."""
    inside, done = Event(), Event()

    def stay() -> None:
        inside.set()
        assert done.wait(PATIENCE_S)

    first = threads.submit(house.visit, "first", False, stay)
    assert inside.wait(PATIENCE_S)
    house.visit("second", False)
    done.set()
    first.result(PATIENCE_S)
    assert house.seen == ["first enters", "second enters", "second leaves", "first leaves"]


def test_alone(house: House, threads: ThreadPoolExecutor) -> None:
    """It comes after who was there, before who came later, and nobody is beside it."""
    inside, done = Event(), Event()

    def stay() -> None:
        inside.set()
        assert done.wait(PATIENCE_S)

    first = threads.submit(house.visit, "first", False, stay)
    assert inside.wait(PATIENCE_S)
    alone = threads.submit(house.visit, "alone", True)
    house.wait_until_somebody_stands_in_the_door()
    late = threads.submit(house.visit, "late", False)
    done.set()
    for visitor in (first, alone, late):
        visitor.result(PATIENCE_S)
    assert house.seen == [
        "first enters", "first leaves", "alone enters", "alone leaves", "late enters", "late leaves",
    ]  # fmt: skip
