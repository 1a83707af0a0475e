"""Settings → sinks, and what each kind does with a record, at a receiver of its own."""

import asyncio
from pathlib import Path

import orjson
import pytest

from proxy.settings.sinks import KEYS
from proxy.sinks.build import BuiltSinks, directory_of
from proxy.sinks.sink import NOBODYS
from tests.observer.exchanges import BASE_CONFIG
from tests.settings.settings_world import read
from tests.sinks.lines import LABEL, entry_of
from tests.sinks.receivers import RECEIVERS
from tests.sinks.test_sink import WAIT_S, Report


def test_every_kind_has_a_receiver() -> None:
    """No kind of sink is left out of what is tested with every one."""
    assert RECEIVERS.keys() == KEYS.keys()


@pytest.mark.parametrize("kind", RECEIVERS)
async def test_a_record_arrives(kind: str, tmp_path: Path) -> None:
    """A sink of each kind, made from settings, brings a record and a label to its receiver and counts both as
    written."""
    async with RECEIVERS[kind](tmp_path) as receiver:
        text = (
            f"state_dir: {tmp_path}\npayload_log: {{sinks: {orjson.dumps([receiver.settings]).decode()}}}\n"
        )
        report = Report()
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        sinks = BuiltSinks(read(text + BASE_CONFIG), run_dir, report.settle)
        assert sinks.submit(entry_of().line, (0, 1, 0))
        sinks.submit_line(orjson.dumps({**LABEL, "labels": ["sealed", 7]}) + b"\n")
        assert await asyncio.to_thread(sinks.close, WAIT_S) == []
        assert sorted(report.written) == [NOBODYS, (0, 1, 0)]
        received = receiver.received()
        for word in (b"planted", b"harvested", b"sealed"):
            assert word in received
        assert sinks.statistics()[0]["counts"] == {"taken": 2, "written": 2, "dropped": 0, "failed": 0}


def test_the_default_is_a_file_of_lines(tmp_path: Path) -> None:
    """Unless said otherwise there is one sink: lines, in the payload directory."""
    settings = read(f"state_dir: {tmp_path}\n{BASE_CONFIG}")
    sinks = BuiltSinks(settings, None, None)
    sinks.submit(b"{}\n", (0, 1, 0))
    assert sinks.close(WAIT_S) == []
    (path,) = (tmp_path / "payloads").iterdir()
    assert path.read_bytes() == b"{}\n"
    assert [(each["name"], each["kind"]) for each in sinks.statistics()] == [("jsonl", "jsonl")]


def test_directories_and_limits(tmp_path: Path) -> None:
    """A sink's own directory goes before the log's; new limits reach the writers."""
    sinks = "[{kind: jsonl}, {kind: jsonl, name: b, dir: b/c}]"
    text = f"state_dir: {tmp_path}\npayload_log: {{dir: a, sinks: {sinks}}}\n"
    settings = read(text + BASE_CONFIG)
    assert [directory_of(settings, each) for each in settings.payload_log.sinks] == [
        tmp_path / "a",
        tmp_path / "b/c",
    ]
    built = BuiltSinks(settings, None, None)
    changed = text.replace("dir: a,", "dir: a, roll_size: 1KiB,")
    built.configure(read(changed + BASE_CONFIG))
    for _ in range(3):
        built.submit(b"x" * 600 + b"\n", (0, 1, 0))
    assert built.close(WAIT_S) == []
    assert len(list((tmp_path / "a").iterdir())) == len(list((tmp_path / "b/c").iterdir())) == 3
