"""What all tests share: laws try the same examples on every machine, and who looks at the clock has it alone."""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("modelproxy", deadline=None, derandomize=True)
settings.load_profile("modelproxy")

DOOR = Path(__file__)
ROOM = DOOR.parent


def is_beside_others(config: pytest.Config) -> bool:
    """Tell whether other processes run tests too (``-n 2``)."""
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long: what comes last is so short that all processes end together."""
    if is_beside_others(config):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@contextmanager
def in_the_room(is_alone: bool) -> Iterator[None]:
    """Be among the tests that run, in whichever process; ``is_alone``: after those that run, before any other."""
    door = os.open(DOOR, os.O_RDONLY)
    try:
        # Who waits to be alone stands in the door: those that come and go would never leave the room empty.
        fcntl.flock(door, fcntl.LOCK_EX)
        room = os.open(ROOM, os.O_RDONLY)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
    finally:
        os.close(door)
    try:
        yield
    finally:
        os.close(room)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests marked ``alone`` run while no other process runs any."""
    if not is_beside_others(item.config):
        return (yield)
    with in_the_room(item.get_closest_marker("alone") is not None):
        return (yield)
