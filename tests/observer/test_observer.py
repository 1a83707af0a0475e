"""The observer process from outside: the link, the admin address, kills, and its end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web

from proxy.evidence.remnants import has_observer, is_stored, lock_workers
from proxy.exchange import Flag
from proxy.observer.disagreements import stretch_key
from proxy.observer.label_store import LabelKey, Labelled, open_labels
from proxy.observer.observer import SOCKET_NAME, Observer
from proxy.observer.own_metrics import HELP
from proxy.settings import Settings, parse
from proxy.settled import settle
from proxy.tally import block_path, read_slots
from proxy.tasks import spawn
from tests.observer.exchanges import (
    BASE_CONFIG,
    agreeing,
    as_frame,
    hello_frame,
    primary_part,
    shadow_part,
    table_of,
)

WAIT_S = 20.0


def settings_of(state_dir: Path, text: str = BASE_CONFIG) -> Settings:
    return parse(f"state_dir: {state_dir}\ntimeouts: {{drain: 2s}}\n{text}", environ={})


def prepare(version: int, settings: Settings) -> dict[str, Any]:
    return {"op": "prepare", "version": version, "digest": "d", "settled": settle(settings).decode()}


def outcomes_in(run_dir: Path, version: int = 1) -> dict[str, int]:
    layout = table_of(version=version).observer_layout
    total: Counter[str] = Counter()
    for key, count in layout.counts(read_slots(block_path(run_dir, "o0", version), layout.size)).items():
        if not key[1].startswith(("distance", "reason")):
            total[key[1]] += count
    return dict(total)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - nobody signals counts in files
            await asyncio.sleep(0.002)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "run").mkdir()
        yield path


class Inside:
    """An observer in this process, and the supervisor's end of its link."""

    def __init__(self, place: Path) -> None:
        self.run_dir, self.state_dir = place / "run", place / "state"
        ours, theirs = socket.socketpair()
        self.observer = Observer(self.run_dir)
        self._ours = ours
        self._theirs = theirs
        self._reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> "Inside":
        admin = socket.create_server(("127.0.0.1", 0))
        self.task = spawn(
            self.observer.run(admin, self._theirs.detach(), lambda _: web.Application()), name="observer"
        )
        self._reader, self.writer = await asyncio.open_connection(sock=self._ours)
        assert (await self.receive())["op"] == "ready"
        self.send({"op": "open"})
        return self

    def send(self, *messages: dict[str, Any]) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(orjson.dumps(message) + b"\n" for message in messages))

    async def receive(self) -> dict[str, Any]:
        assert self._reader is not None
        async with asyncio.timeout(WAIT_S):
            message: dict[str, Any] = orjson.loads(await self._reader.readline())
        return message

    async def publish(self, version: int, settings: Settings) -> None:
        self.send(prepare(version, settings))
        assert await self.receive() == {"op": "prepared", "version": version}
        self.send({"op": "commit", "version": version})
        assert await self.receive() == {"op": "committed", "version": version}

    async def worker(self, *frames: bytes) -> asyncio.StreamWriter:
        path = self.run_dir / SOCKET_NAME
        await until(path.exists)
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"".join(frames))
        return writer

    async def stop(self) -> None:
        assert self.writer is not None
        self.writer.close()
        if self.task is not None:
            await self.task


@pytest.fixture
async def inside(place: Path) -> AsyncIterator[Inside]:
    inside = await Inside(place).start()
    yield inside
    await inside.stop()


async def test_publish_and_observe(inside: Inside, place: Path) -> None:
    """After a commit workers are heard, and what they send is counted and written under the state directory."""
    before = inside.observer.current
    assert before is None
    assert inside.observer.gauges() == {}
    await inside.publish(1, settings_of(inside.state_dir))
    assert inside.observer.current is inside.observer.tables[1]
    worker = await inside.worker(hello_frame(), as_frame(primary_part()), as_frame(shadow_part()))
    await until(lambda: outcomes_in(inside.run_dir) == {"agree": 1, "written": 1})
    (path,) = (place / "state" / "payloads").iterdir()
    assert orjson.loads(path.read_bytes())["request_id"] == "req-1"
    assert inside.observer.gauges()["connections"] == 1
    assert inside.observer.gauges().keys() == HELP.keys()
    worker.close()


async def test_refused(inside: Inside) -> None:
    """What cannot be taken in is refused with a reason, and the version before stays."""
    await inside.publish(1, settings_of(inside.state_dir))
    inside.send({"op": "prepare", "version": 2, "digest": "d", "settings": "{}"})
    reply = await inside.receive()
    assert (reply["op"], reply["version"]) == ("refused", 2)
    assert reply["reason"].startswith("observer: ")
    assert inside.observer.current is inside.observer.tables[1]


async def test_refused_for_lack_of_space(inside: Inside) -> None:
    """Where the counters have no place, the version is refused and forgotten; it can be offered again."""
    settings = settings_of(inside.state_dir)
    in_the_way = block_path(inside.run_dir, "o0", 1)
    in_the_way.mkdir()
    inside.send(prepare(1, settings))
    reply = await inside.receive()
    assert "Is a directory" in reply["reason"]
    assert inside.observer.tables == {}
    in_the_way.rmdir()
    await inside.publish(1, settings)


async def test_a_refusal_quotes_no_secret(inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the reason nor the log of a refusal holds what stands in the settings."""
    inside.send({"op": "prepare", "version": 1, "digest": "d", "settings": '{"admin_token": ["s3cr3t"]}'})
    assert "s3cr3t" not in str(await inside.receive())
    assert "s3cr3t" not in caplog.text


async def test_reload_and_retire(inside: Inside) -> None:
    """Two versions live side by side until one is retired; each frame counts under its own."""
    await inside.publish(1, settings_of(inside.state_dir))
    await inside.publish(2, settings_of(inside.state_dir, BASE_CONFIG.replace("25", "30")))
    frames = [as_frame(shadow_part(version=v, number=v)) for v in (1, 2)]
    frames += [as_frame(primary_part(version=v, number=v)) for v in (1, 2)]
    worker = await inside.worker(hello_frame(), *frames)
    for version in (1, 2):
        await until(lambda v=version: outcomes_in(inside.run_dir, v) == {"agree": 1, "written": 1})  # type: ignore[misc]
    inside.send({"op": "retire", "versions": [1]})
    assert await inside.receive() == {"op": "retired", "versions": [1]}
    assert list(inside.observer.tables) == [2]
    worker.close()


async def test_labels_of_the_one_before(inside: Inside) -> None:
    """What an observer before took up to the moment at which this one begins to answer is shown by this one."""
    text = BASE_CONFIG.replace("as: classification", "as: classification, labels: 1h")
    await inside.publish(1, settings_of(inside.state_dir, text))
    assert inside.observer.labels("wine") == []
    route = inside.observer.tables[1].routes[0]
    key = LabelKey(stretch_key(route, route.shadows[0]), "v1")
    before = open_labels(inside.state_dir, 0)
    before.take([Labelled(key, 7, ["only_primary"])])
    before.close()
    inside.send({"op": "open"})
    await until(lambda: bool(inside.observer.labels("wine")))
    (known,) = inside.observer.labels("wine")
    assert (known.shadow, known.variant, known.counts.rows) == ("wine-v4", "v1", 1)


async def test_requests_are_answered_by_the_supervisor(inside: Inside) -> None:
    """A request goes up the link, its reply comes back to whoever asked."""
    asking = [spawn(inside.observer.request("reload", by), name=by) for by in ("ada", "bob")]
    first, second = await inside.receive(), await inside.receive()
    assert (first["verb"], first["by"]) == ("reload", "ada")
    inside.send({"op": "reply", "id": second["id"], "ok": False, "document": {"problems": ["x"]}})
    inside.send({"op": "reply", "id": first["id"], "ok": True, "document": {"version": 2}})
    assert (await asking[0])["document"] == {"version": 2}
    assert (await asking[1])["ok"] is False


async def test_requests_fail_when_the_supervisor_is_gone(inside: Inside) -> None:
    """Who waits for an answer hears that none will come; who asks later hears it at once."""
    asking = spawn(inside.observer.request("reload", "ada"), name="asking")
    await inside.receive()
    await inside.stop()
    with pytest.raises(ConnectionError, match="gone"):
        await asking
    with pytest.raises(ConnectionError, match="gone"):
        await inside.observer.request("reload", "ada")


async def test_messages_nobody_knows_are_harmless(inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown messages, a commit without its prepare and a reply nobody waits for change nothing."""
    inside.send(
        {"op": "dance"}, {"op": "commit", "version": 7}, {"op": "reply", "id": 9, "ok": True, "document": {}}
    )
    inside.send({"op": "fleet", "workers": [{"index": 0}]})
    await until(lambda: bool(inside.observer.fleet))
    assert inside.observer.current is None
    assert "'dance'" in caplog.text
    assert "never prepared" in caplog.text


async def test_the_end_of_the_link_ends_the_observer(inside: Inside) -> None:
    """Without a supervisor the observer finishes what workers sent, writes it, and ends."""
    await inside.publish(1, settings_of(inside.state_dir))
    worker = await inside.worker(
        hello_frame(), *(as_frame(primary_part(number=n, shadows_sent=0)) for n in range(50))
    )
    await worker.drain()
    worker.close()
    await until(lambda: inside.observer.gauges()["connections"] == 0 and outcomes_in(inside.run_dir) != {})
    await inside.stop()
    assert outcomes_in(inside.run_dir) == {"written": 50}
    assert not (inside.run_dir / SOCKET_NAME).exists()


async def test_left_alone_it_waits_for_the_workers(inside: Inside) -> None:
    """They finish what they have begun, which nobody else may ever read; also where none of them is connected."""
    await inside.publish(1, settings_of(inside.state_dir))
    workers = lock_workers(inside.run_dir)
    assert inside.writer is not None
    assert inside.task is not None
    inside.writer.close()
    await asyncio.wait((inside.task,), timeout=0.3)
    assert not inside.task.done()
    assert has_observer(inside.run_dir), "who would remove the directory waits for it"
    os.close(workers)
    async with asyncio.timeout(1.0):
        await inside.task
    assert not has_observer(inside.run_dir)
    assert not is_stored(inside.run_dir)


@pytest.mark.parametrize("has_disk", [True, False])
async def test_in_the_end_it_says_whether_all_is_stored(inside: Inside, has_disk: bool) -> None:
    """Told to drain, the workers have ended: nothing comes any more. Where the disk failed, the counters must stay."""
    settings = settings_of(inside.state_dir)
    inside.send({**prepare(1, settings), "clock_offset_ns": 0})
    assert (await inside.receive())["op"] == "prepared"
    if not has_disk:
        (inside.state_dir / "evidence.sqlite").mkdir()
    inside.send({"op": "commit", "version": 1}, {"op": "drain"})
    assert inside.task is not None
    async with asyncio.timeout(WAIT_S):
        await inside.task
    assert is_stored(inside.run_dir) == has_disk


async def test_totals_survive_a_restart(place: Path) -> None:
    """What the observer counts about itself goes on after a restart."""
    for expected in (1.0, 2.0):
        inside = await Inside(place).start()
        await inside.publish(1, settings_of(inside.state_dir))
        worker = await inside.worker(b"\xff" * 64)
        gauges = inside.observer.gauges
        await until(lambda get=gauges, want=expected: get()["broken_streams_total"] == want)  # type: ignore[misc]
        worker.close()
        await inside.stop()


class Process:
    """A real observer process with its admin address and link."""

    def __init__(self, run_dir: Path, admin: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        fds = (admin.fileno(), theirs.fileno())
        command = [sys.executable, "-m", "proxy.observer", str(run_dir), *map(str, fds)]
        self.child = subprocess.Popen(command, pass_fds=fds)
        theirs.close()
        self.run_dir = run_dir
        self.link = ours
        self._lines = ours.makefile("rb")

    def ask(self, *messages: dict[str, Any]) -> None:
        self.link.sendall(b"".join(orjson.dumps(message) + b"\n" for message in messages))

    async def hear(self, op: str) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads(await asyncio.to_thread(self._lines.readline))
        assert message["op"] == op, message
        return message

    async def publish(self, settings: Settings) -> None:
        await self.hear("ready")
        self.ask({"op": "open"}, prepare(1, settings), {"op": "commit", "version": 1})
        await self.hear("prepared")
        await self.hear("committed")
        await until((self.run_dir / SOCKET_NAME).exists)

    async def wait(self) -> int:
        return await asyncio.to_thread(self.child.wait, WAIT_S)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.child.kill()
        self.child.wait()
        self._lines.close()
        self.link.close()


async def connect(run_dir: Path, *frames: bytes) -> asyncio.StreamWriter:
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(run_dir / SOCKET_NAME)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.write(b"".join(frames))
                return writer


@pytest.mark.slow
async def test_killed_and_restarted(place: Path) -> None:
    """Kill -9 in the middle: the successor finds the counts, the next hello what was lost; the sums agree exactly."""
    run_dir, settings = place / "run", settings_of(place / "state")
    with socket.create_server(("127.0.0.1", 0)) as admin:
        first = Process(run_dir, admin)
        try:
            await first.publish(settings)
            frames = [
                as_frame(part) for n in range(100) for part in (primary_part(number=n), shadow_part(number=n))
            ]
            worker = await connect(run_dir, hello_frame(), *frames)
            await until(lambda: outcomes_in(run_dir).get("agree", 0) == 100)
            worker.write(frames[0])
            os.kill(first.child.pid, signal.SIGKILL)
            await first.wait()
            worker.close()
        finally:
            first.close()
        second = Process(run_dir, admin)
        try:
            await second.publish(settings)
            shipped = orjson.dumps({"1\nshadow\nwine\nwine-v4": 130, "1\npayload\nwine": 150})
            worker = await connect(run_dir, hello_frame(boot=2, shipped=shipped), *frames[:2])
            await until(lambda: outcomes_in(run_dir).get("agree", 0) == 101)
            worker.close()
            os.kill(second.child.pid, signal.SIGTERM)
            assert await second.wait() == 0
        finally:
            second.close()
    outcomes = outcomes_in(run_dir)
    comparisons = {k: n for k, n in read_kind(run_dir, "comparison").items() if n}
    assert comparisons == {"agree": 101, "dropped": 30}
    assert sum(read_kind(run_dir, "sink").values()) == 151
    # A line that the disk had when the kill came, and that was not counted yet, counts as dropped.
    assert 1 <= outcomes["written"] <= sum(1 for _ in lines_in(place / "state" / "payloads")) <= 101


def read_kind(run_dir: Path, kind: str) -> Counter[str]:
    layout = table_of().observer_layout
    total: Counter[str] = Counter()
    for key, count in layout.counts(read_slots(block_path(run_dir, "o0", 1), layout.size)).items():
        if key[0] == kind and not key[1].startswith("distance"):
            total[key[1]] += count
    return total


def lines_in(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.iterdir()):
        for line in path.read_bytes().splitlines():
            yield orjson.loads(line)


@pytest.mark.slow
async def test_the_admin_address_answers_under_load(place: Path) -> None:
    """While frames pour in, health and metrics answer; SIGINT is ignored; a drain ends the process with code 0."""
    run_dir, settings = place / "run", settings_of(place / "state")
    with socket.create_server(("127.0.0.1", 0)) as admin:
        url = f"http://127.0.0.1:{admin.getsockname()[1]}"
        process = Process(run_dir, admin)
        try:
            await process.publish(settings)
            pairs = (
                as_frame(part)
                for n in range(5000)
                for part in (
                    primary_part(number=n, flags=0),
                    shadow_part(number=n, response_body=agreeing(n % 3)),
                )
            )
            worker = await connect(run_dir, hello_frame(), *pairs)
            async with ClientSession() as client:
                async with client.get(f"{url}/healthz") as response:
                    assert response.status == 200
                async with client.get(f"{url}/metrics") as response:
                    text = await response.text()
                    assert "modelproxy_comparisons_total" in text
                    assert "modelproxy_observer_connections 1.0" in text
            os.kill(process.child.pid, signal.SIGINT)
            await until(lambda: sum(outcomes_in(run_dir).values()) == 5000)
            worker.close()
            process.ask({"op": "drain"})
            assert await process.wait() == 0
        finally:
            process.close()


@pytest.mark.slow
async def test_a_dead_collector_does_not_hold_up_the_end(inside: Inside) -> None:
    """With tracing on and nobody to take the spans, they are counted as failed and the observer ends all the same."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    config = BASE_CONFIG + f"tracing: {{otlp: 'http://127.0.0.1:{port}', percent: 100}}\n"
    await inside.publish(1, settings_of(inside.state_dir, config))
    traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    head = b"POST / HTTP/1.1\r\ntraceparent: " + traceparent + b"\r\n\r\n"
    part = primary_part(flags=Flag.TRACED | Flag.LOGGED, shadows_sent=0, request_head=head)
    worker = await inside.worker(hello_frame(), as_frame(part))
    await until(lambda: outcomes_in(inside.run_dir) == {"written": 1})
    worker.close()
    await inside.stop()
    # Two spans failed, and nothing else went wrong.
    assert sum(read_slots(inside.run_dir / "observer.counters", 9)) == 2


async def test_without_its_socket_the_observer_ends(inside: Inside) -> None:
    """An observer that cannot listen to workers is of no use: it ends, and the supervisor starts another."""
    (inside.run_dir / f"{SOCKET_NAME}.new").mkdir()
    inside.send(prepare(1, settings_of(inside.state_dir)), {"op": "commit", "version": 1})
    assert inside.task is not None
    async with asyncio.timeout(WAIT_S):
        await inside.task
