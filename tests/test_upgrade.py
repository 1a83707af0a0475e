"""Both sides of an upgrade: the question before it, and the order in which the earlier processes go."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from proxy import upgrade
from proxy.earlier import Earlier
from proxy.evidence.blocks import open_evidence, sources
from proxy.evidence.counts import read
from proxy.evidence.layout import FIELDS
from proxy.fleet import Fleet
from proxy.rundir import RunDirectory
from proxy.tally import Layout, block_path, follow, leave_layouts, open_block, read_all
from proxy.tasks import spawn

CONFIG = """
models: {m: {url: "http://127.0.0.1:9001"}}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: m, role: champion}]}]
"""

LAYOUT = Layout.of([("variant", ("r", "v", "m"), ("started", "lost"))])


class FakeObserver:
    def __init__(self) -> None:
        self.is_up = True


class FakeFleet:
    """What the succession needs of ours."""

    def __init__(self, course: list[str]) -> None:
        self.course = course
        self.is_complete = False
        self.observer = FakeObserver()
        self.failures: list[str] = []

    def open_admin(self) -> None:
        self.course.append("open")

    def count_fold_failure(self, what: str) -> None:
        self.failures.append(what)


class FakeEarlier:
    """The processes before; they finish at once."""

    def __init__(self, course: list[str]) -> None:
        self.course = course

    async def hush(self) -> None:
        self.course.append("hush")

    async def leave(self, successor: int) -> None:
        self.course.append(f"leave to {successor}")

    async def drain(self, seconds: float, margin_s: float) -> None:
        self.course.append(f"drain {seconds:g} {margin_s:g}")


class World:
    """Two run directories, the earlier of which has one request under way."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("_LOOK_S", "OBSERVER_S", "FOLD_AGAIN_S"):
            monkeypatch.setattr(upgrade, name, 0.005)
        self.course: list[str] = []
        self.fleet, self.earlier = FakeFleet(self.course), FakeEarlier(self.course)
        self.before, self.after = directory / "before", directory / "after"
        for path in (self.before, self.after):
            path.mkdir()
        block = open_block(block_path(self.before, "w0", 1), LAYOUT.size)
        block.slots[0] = 1
        block.close()
        leave_layouts(self.before, {1: {"w": LAYOUT}})
        follow(self.after, self.before)
        self.lock = os.open(directory, os.O_RDONLY)

    async def succeed(self) -> None:
        both = (RunDirectory(self.before, self.lock), RunDirectory(self.after, -1))
        earlier, fleet = cast("Earlier", self.earlier), cast("Fleet", self.fleet)
        async with asyncio.timeout(30):
            await upgrade.succeed(earlier, fleet, both, (9.0, 2.0), 7, lambda: self.course.append("changed"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Both programs side by side."""
    return World(tmp_path, monkeypatch)


async def test_nothing_happens_before_ours_serve(world: World) -> None:
    """The earlier processes go on until every worker is up, however long that takes."""
    task = spawn(world.succeed(), name="succession")
    await asyncio.sleep(0.1)
    assert world.course == []
    world.fleet.is_complete = True
    await task
    assert world.course == ["hush", "open", "leave to 7", "drain 9 2", "changed"]


async def test_the_end_of_it(world: World) -> None:
    """The earlier counts are ours, with what was under way settled, and its directory and lock are gone."""
    world.fleet.is_complete = True
    await world.succeed()
    counts = read_all(world.after, {})[0]
    assert counts == {("variant", "started", "r", "v", "m"): 1, ("variant", "lost", "r", "v", "m"): 1}
    assert not world.before.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(world.lock)


async def test_evidence_outlives_its_program(world: World) -> None:
    """What the earlier workers counted to the last is there when they and their directory are gone, under its name."""
    block = open_evidence(world.before, "0123456789abcdef", 0, FIELDS)
    block.slots[2] = 7
    block.close()
    world.fleet.is_complete = True
    await world.succeed()
    found = sources(world.after)
    assert found.keys() == {"before", "after"}
    assert read(found["before"], "0123456789abcdef", 1)[0, 2] == 7


async def test_without_our_observer_the_workers_are_exchanged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not needed for traffic; the earlier one answers as long as it can."""
    world.fleet.is_complete, world.fleet.observer.is_up = True, False
    await world.succeed()
    assert world.course == ["open", "leave to 7", "drain 9 2", "changed"]
    assert "exchanged without it" in caplog.text


async def test_a_full_disk_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that cannot be folded stay where they are until they can."""
    results = [OSError(28, "No space left on device"), None]

    def fold(*_: Any) -> None:
        if (result := results.pop(0)) is not None:
            assert world.before.exists()
            raise result

    monkeypatch.setattr(upgrade, "fold_earlier", fold)
    world.fleet.is_complete = True
    await world.succeed()
    assert world.fleet.failures == ["the counts of the program before: No space left on device"]
    assert not world.before.exists()


async def test_it_is_said_that_it_takes_long(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody should look why the new workers do not come."""
    monkeypatch.setattr(upgrade, "COMPLAIN_S", 0.01)
    with caplog.at_level(logging.ERROR):
        task = spawn(world.succeed(), name="succession")
        async with asyncio.timeout(30):
            while True:
                if "not complete" in caplog.text:
                    break
                await asyncio.sleep(0.01)
    world.fleet.is_complete = True
    await task


@pytest.mark.slow
async def test_the_program_on_disk_is_asked(tmp_path: Path) -> None:
    """A good file passes, and every problem of a bad one comes back."""
    config = tmp_path / "a.yaml"
    config.write_text(CONFIG)
    assert await upgrade.preflight(config) == ()
    config.write_text(CONFIG.replace("champion", "king"))
    (problem,) = await upgrade.preflight(config)
    assert "king" in problem


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo broken >&2; exit 1", "broken"),
        ("exec sleep 60", "does not answer within 0.3 s"),
    ],
)
async def test_a_broken_program_on_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    """Whatever is wrong with it, the answer is no."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    (problem,) = await upgrade.preflight(tmp_path / "a.yaml", 0.3 if "sleep" in script else 30)
    assert sentence in problem


async def test_no_program_on_disk_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in the middle of being replaced."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    (problem,) = await upgrade.preflight(tmp_path / "a.yaml")
    assert "cannot start" in problem
