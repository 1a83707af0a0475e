"""Processes are started with their logs kept, watched, and ended by their own ids."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.demo.models import has_sklearn
from proxy.demo.processes import DemoError, Fleet, free_address, tail


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet that is ended whatever the test did."""
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.kill()
    await fleet.stop()


def test_a_free_preferred_port_is_taken() -> None:
    """The well-known port is used when nobody has it, any other when somebody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_address(port) != f"127.0.0.1:{port}"
    assert free_address(port) == f"127.0.0.1:{port}"


def test_tail(tmp_path: Path) -> None:
    """The end of a log is shown indented; a log that is not there is nothing."""
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == "\n    two\n    three"
    assert tail(tmp_path / "none") == ""


@pytest.mark.slow
async def test_a_model_that_does_not_start_is_named_with_its_log(fleet: Fleet) -> None:
    """A model server that ends at once is an error with the end of its log, not a wait."""
    with pytest.raises(DemoError, match=r"(?s)the nonsense model did not start.*Invalid value"):
        await fleet.start_models("nonsense", ["nonsense"])


@pytest.mark.slow
async def test_a_proxy_that_refuses_its_file_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    """The proxy's exit code and its own words are in the message."""
    config = tmp_path / "broken.yaml"
    config.write_text("listen: nonsense\n")
    child = await fleet.start_proxy(config, {})
    await child.process.wait()
    assert fleet.exit_code("proxy") == 1
    with pytest.raises(DemoError, match=r"(?s)proxy ended with exit code 1.*broken\.yaml"):
        fleet.check_alive()


@pytest.mark.slow
@pytest.mark.skipif(not has_sklearn(), reason="scikit-learn is not installed")
async def test_a_model_server_starts_serves_and_ends(fleet: Fleet) -> None:
    """A started model listens where it says; asked to end, it exits 0; without its parent's pipe it ends too."""
    (url, accuracy), _ = await asyncio.gather(
        fleet.start_models("champion", ["champion", "fixed"]), fleet.start_models("skewed", ["skewed"])
    )
    port = int(url.rpartition(":")[2])
    assert set(accuracy) == {"champion", "fixed"}
    assert min(accuracy.values()) > 0.9
    fleet.check_alive()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()
    orphan = next(child for child in fleet.children if child.name == "model-skewed")
    assert orphan.process.stdin is not None
    orphan.process.stdin.close()
    await asyncio.wait_for(orphan.process.wait(), 20)
    await fleet.stop()
    assert [child.process.returncode for child in fleet.children] == [0, 0]


@pytest.mark.slow
async def test_killing_ends_the_process_group_of_a_child(fleet: Fleet, tmp_path: Path) -> None:
    """A child leads a process group of its own, and killing it ends the child at once."""
    config = tmp_path / "demo.yaml"
    config.write_text("listen: nonsense\n")
    child = await fleet.start_proxy(config, {})
    assert os.getpgid(child.process.pid) == child.process.pid != os.getpgrp()
    fleet.kill()
    assert await child.process.wait() in (-signal.SIGKILL, 1)
