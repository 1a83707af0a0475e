"""The one way to start a task: it keeps the reference, names it, and never loses an exception.

``asyncio`` holds tasks weakly: one that nobody else refers to may be collected before it is done
(Python documentation of ``asyncio.create_task``, "Important").
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["spawn"]

T = TypeVar("T")

_log = logging.getLogger("modelproxy")
_running: set[asyncio.Task[Any]] = set()


def spawn(coro: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
    """Start ``coro`` on the running loop as a task called ``name`` and keep it until it ends.

    An exception that nobody awaits is logged with the task's name. Cancelling is not an error.
    """
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _running.add(task)
    task.add_done_callback(_on_done)
    return task


def _on_done(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task %s failed: %r", task.get_name(), error, exc_info=error)
