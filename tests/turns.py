"""Processes that run tests side by side, and how one of them has the machine alone for a while."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DOOR", "ROOM", "in_the_room"]

DOOR = Path(__file__)
ROOM = DOOR.parent


@contextmanager
def in_the_room(is_alone: bool, door: Path = DOOR, room: Path = ROOM) -> Iterator[None]:
    """Be among the tests that run, in whichever process.

    Args:
        is_alone: enter when all have left who are in the room, and let nobody in meanwhile.
        door: what is locked while somebody enters; nothing is written.
        room: what is locked while somebody is inside.
    """
    door_file = os.open(door, os.O_RDONLY)
    try:
        # Who waits to be alone stands in the door: those that come and go would never leave the room empty.
        fcntl.flock(door_file, fcntl.LOCK_EX)
        room_file = os.open(room, os.O_RDONLY)
        fcntl.flock(room_file, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
    finally:
        os.close(door_file)
    try:
        yield
    finally:
        os.close(room_file)
