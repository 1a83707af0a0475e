"""Tasks are kept until they end, are named, and lose no exception."""

import asyncio
import gc
import logging

import pytest

from proxy.tasks import spawn


async def test_the_result_can_be_awaited() -> None:
    """A spawned task is a task like any other, with the name it was given."""

    async def answer() -> int:
        return 42

    task = spawn(answer(), name="answer")
    assert task.get_name() == "answer"
    assert await task == 42


async def test_a_task_that_nobody_holds_runs_to_its_end() -> None:
    """The reference is kept: a collection in the middle does not end the task."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    gate.set()
    await asyncio.wait_for(done.wait(), 5)


async def test_an_exception_is_logged_with_the_name(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody awaits is not lost."""

    async def fail() -> None:
        raise ValueError("broken")

    task = spawn(fail(), name="the failing one")
    with caplog.at_level(logging.ERROR, "modelproxy"):
        await asyncio.wait([task])
        await asyncio.sleep(0)
    (record,) = caplog.records
    assert "the failing one" in record.getMessage()
    assert "ValueError('broken')" in record.getMessage()


async def test_cancelling_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled task ends in silence."""
    task = spawn(asyncio.Event().wait(), name="idle")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert task.cancelled()
    assert caplog.records == []
