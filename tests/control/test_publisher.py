"""The only writer: what is accepted becomes effective everywhere, what is refused changes nothing."""

import asyncio
import hashlib
import threading
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.control import release as release_module
from proxy.control.release import Result
from tests.control.publishing import BROKEN, GOOD, MOVED, RAISED, Publishing


@pytest.fixture
def world(tmp_path: Path) -> Publishing:
    """A publisher that has published nothing."""
    return Publishing(tmp_path / "state")


async def test_a_change_is_prepared_journalled_and_committed(world: Publishing) -> None:
    """Two good documents become versions 1 and 2, each with its line in the journal."""
    first = await world.publish(GOOD, by="start")
    second = await world.publish(RAISED)
    assert (first.result, first.version) == (Result.PUBLISHED, 1)
    assert (second.result, second.version) == (Result.PUBLISHED, 2)
    assert world.fleet.calls == [("prepare", 1), ("commit", 1), ("prepare", 2), ("commit", 2)]
    lines = world.lines()
    assert [(line["version"], line["from"], line["by"]) for line in lines] == [
        (1, 0, "start"),
        (2, 1, "file"),
    ]
    assert lines[1]["changes"] == ["routes[wine].variants[v2].weight: 5 → 20"]
    assert lines[1]["digest"] == hashlib.sha256(RAISED).hexdigest()
    assert world.publisher.running is not None
    assert world.publisher.running.table.version == 2


async def test_versions_go_on_from_the_journal(tmp_path: Path) -> None:
    """The first version after a restart is one more than the last, and the line says from which."""
    world = Publishing(tmp_path, last_version=41)
    assert (await world.publish(GOOD)).version == 42
    assert world.lines()[0]["from"] == 41


async def test_a_bad_file_changes_nothing_and_says_so(world: Publishing) -> None:
    """After a refusal the old table runs, the status tells, and the journal has it."""
    await world.publish(GOOD)
    before = world.publisher.running
    outcome = await world.publish(BROKEN)
    assert (outcome.ok, outcome.version) == (False, 1)
    assert world.publisher.running is before
    assert world.fleet.calls == [("prepare", 1), ("commit", 1)]
    status = world.publisher.status()
    assert status["last_reload_successful"] is False
    assert status["last_error"] == list(outcome.problems)
    assert (status["reloads_total"], status["reloads_refused_total"]) == (1, 1)
    last = world.lines()[-1]
    assert (last["event"], last["running"], last["problems"]) == ("refused", 1, list(outcome.problems))


async def test_the_running_content_again_clears_the_error(world: Publishing) -> None:
    """Taking a bad edit back makes no new version and ends the alarm."""
    await world.publish(GOOD)
    await world.publish(BROKEN)
    outcome = await world.publish(GOOD)
    assert (outcome.result, outcome.version) == (Result.UNCHANGED, 1)
    status = world.publisher.status()
    assert status["last_reload_successful"] is True
    assert status["last_error"] == []
    assert len(world.lines()) == 2


async def test_a_change_that_needs_a_restart_is_refused(world: Publishing) -> None:
    """Another listen address is refused with that sentence."""
    await world.publish(GOOD)
    outcome = await world.publish(MOVED)
    assert not outcome.ok
    assert "needs a restart" in outcome.problems[0]


async def test_a_refusal_by_one_process_is_a_refusal(world: Publishing) -> None:
    """What one process cannot hold is effective nowhere, and its number is never used again."""
    await world.publish(GOOD)
    world.fleet.refusals = ("worker 1: no space left on device",)
    outcome = await world.publish(RAISED)
    assert outcome.problems == world.fleet.refusals
    world.fleet.refusals = ()
    assert (await world.publish(RAISED)).version == 3
    assert world.fleet.calls[2:] == [("prepare", 2), ("abandon", 2), ("prepare", 3), ("commit", 3)]
    assert [line.get("version") for line in world.lines()] == [1, None, 3]
    assert world.lines()[-1]["from"] == 1


async def test_publishes_do_not_overlap(world: Publishing) -> None:
    """A second publish starts when the first is committed."""
    await world.publish(GOOD)
    world.fleet.gate.clear()
    world.fleet.asked.clear()
    both = asyncio.gather(world.publish(RAISED), world.publish(GOOD))
    await world.fleet.asked.wait()
    assert ("prepare", 3) not in world.fleet.calls
    world.fleet.gate.set()
    first, second = await both
    assert (first.version, second.version) == (2, 3)
    assert world.fleet.calls[2:] == [("prepare", 2), ("commit", 2), ("prepare", 3), ("commit", 3)]


async def test_a_file_that_is_gone_keeps_the_table(world: Publishing) -> None:
    """Without a document the last reload counts as failed and the table stays."""
    await world.publish(GOOD)
    outcome = await world.publisher.refuse("a.yaml: cannot read", by="file", why="the file changed")
    assert (outcome.ok, outcome.version, outcome.problems) == (False, 1, ("a.yaml: cannot read",))
    assert world.publisher.status()["last_error"] == ["a.yaml: cannot read"]
    assert (await world.publish(GOOD)).ok


async def test_a_failing_journal_does_not_stop_a_publish(tmp_path: Path) -> None:
    """Where the journal cannot be written the change is made all the same, and counted."""
    (tmp_path / "state").write_text("in the way")
    world = Publishing(tmp_path / "state")
    assert (await world.publish(GOOD)).ok
    assert (await world.publish(RAISED)).version == 2
    assert world.publisher.status()["journal_failures_total"] == 2


async def test_a_hanging_disk_does_not_stop_a_publish(
    world: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that takes too long counts as failed, and the change is made."""
    monkeypatch.setattr(world.publisher, "_write", partial(world.publisher._write, patience_s=0.01))
    write = world.journal.published
    released = threading.Event()

    def slow(**line: Any) -> bool:
        released.wait()
        return write(**line)

    monkeypatch.setattr(world.journal, "published", slow)
    assert (await world.publish(GOOD)).ok
    assert world.publisher.status()["journal_failures_total"] == 1
    released.set()


async def test_a_bug_in_compiling_refuses(world: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that cannot be compiled is refused like a bad file."""
    await world.publish(GOOD)

    def broken(*_: object) -> None:
        raise KeyError("m1")

    monkeypatch.setattr(release_module, "compile_table", broken)
    outcome = await world.publish(RAISED)
    assert not outcome.ok
    assert "cannot compile" in outcome.problems[0]


async def test_whoever_shows_the_status_is_told(world: Publishing) -> None:
    """Each publish and refusal is told once."""
    await world.publish(GOOD)
    await world.publish(BROKEN)
    await world.publisher.refuse("gone", by="file", why="the file changed")
    assert world.pushes == 3


async def test_the_outcome_as_json(world: Publishing) -> None:
    """The reply to a reload request is plain JSON."""
    document = (await world.publish(GOOD)).document()
    assert orjson.loads(orjson.dumps(document)) == document
    assert (document["result"], document["version"], document["problems"]) == ("published", 1, [])


async def test_what_a_process_refuses_may_pass_later(world: Publishing) -> None:
    """What the document says is wrong for good; what a process cannot hold is worth another try."""
    world.fleet.refusals = ("worker 1: no space left on device",)
    refused = await world.publish(GOOD)
    assert (refused.ok, refused.may_pass_later) == (False, True)
    assert world.publisher.last_version == 1
    assert not (await world.publish(BROKEN)).may_pass_later
    world.fleet.refusals = ()
    assert not (await world.publish(GOOD)).may_pass_later


async def test_at_rest_nothing_is_published(world: Publishing) -> None:
    """It waits for the publish under way, and those that come meanwhile wait for it."""
    world.fleet.gate.clear()
    first = asyncio.ensure_future(world.publish(GOOD))
    await asyncio.wait_for(world.fleet.asked.wait(), 10)
    is_at_rest, may_end = asyncio.Event(), asyncio.Event()

    async def rest() -> None:
        async with world.publisher.at_rest():
            is_at_rest.set()
            await may_end.wait()

    resting = asyncio.ensure_future(rest())
    await asyncio.sleep(0)
    assert not is_at_rest.is_set()
    world.fleet.gate.set()
    await first
    await asyncio.wait_for(is_at_rest.wait(), 10)
    second = asyncio.ensure_future(world.publish(RAISED))
    await asyncio.sleep(0.05)
    assert world.fleet.calls == [("prepare", 1), ("commit", 1)]
    may_end.set()
    await asyncio.gather(second, resting)
    assert world.fleet.calls[2:] == [("prepare", 2), ("commit", 2)]
