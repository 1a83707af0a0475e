"""A worker obeys its link: prepare, commit, retire, drain; over a real socket pair, in this process."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import monotonic_ns
from proxy.dataplane import evidence as evidence_module
from proxy.dataplane import worker as worker_module
from proxy.dataplane.attempts import ALWAYS
from proxy.dataplane.door import Door
from proxy.dataplane.worker import Worker
from proxy.evidence.blocks import epochs
from proxy.evidence.layout import CELLS, stamp_of
from proxy.evidence.units import units_path
from proxy.link import Link, open_link
from proxy.settings import parse
from proxy.settled import WITHHELD, settle
from proxy.tally import block_path, read_slots
from tests.certificate_world import Authority
from tests.dataplane.road import CONFIG


class Supervisor:
    """The other end of the link."""

    def __init__(self, worker: Worker, address: tuple[str, int]) -> None:
        self.worker = worker
        self.address = address
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.link: Link

    async def tell(self, op: str, **rest: Any) -> dict[str, Any]:
        """Send a message and return the answer."""
        self.link.send({"op": op, **rest})
        async with asyncio.timeout(10):
            return await self.messages.get()

    async def prepare(self, version: int, text: str = CONFIG, **rest: Any) -> dict[str, Any]:
        """Prepare a table."""
        settled = settle(parse(text, environ={}), WITHHELD).decode()
        return await self.tell("prepare", version=version, digest="d", settled=settled, **rest)

    async def ask(self) -> bytes:
        """Send a request that no route matches; return the status line."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n")[0]


@asynccontextmanager
async def running(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[None]]]:
    """Run a worker without an observer, and end it."""
    monkeypatch.setattr(worker_module, "OBSERVER_WAIT_S", 0.01)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    ours, theirs = socket.socketpair()
    worker = Worker(0, run_dir, listener)
    supervisor = Supervisor(worker, listener.getsockname())
    supervisor.link = await open_link(ours.detach(), supervisor.messages.put_nowait, lambda: None)
    task = asyncio.ensure_future(worker.run(theirs.detach()))
    try:
        async with asyncio.timeout(10):
            assert (await supervisor.messages.get())["op"] == "ready"
        yield supervisor, task
    finally:
        supervisor.link.close()
        async with asyncio.timeout(10):
            await task
        listener.close()  # no server owns it when there was no commit


async def test_it_serves_after_the_first_commit_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared is not yet in force; committed is, and what is counted lies in the block of that version."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        assert await supervisor.prepare(1) == {"op": "prepared", "version": 1}
        assert await supervisor.tell("commit", version=1) == {"op": "committed", "version": 1}
        assert await supervisor.ask() == b"HTTP/1.1 404 Not Found"
        assert await supervisor.prepare(2) == {"op": "prepared", "version": 2}
        assert supervisor.worker.table.version == 1
        assert await supervisor.tell("commit", version=2) == {"op": "committed", "version": 2}
        assert await supervisor.ask() == b"HTTP/1.1 404 Not Found"
        for version in (1, 2):
            table = supervisor.worker.table
            slots = read_slots(block_path(tmp_path, "w0", version), table.layout.size)
            assert slots[table.slot_unrouted + 404] == 1


async def test_a_replaced_table_remembers_no_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a table remembers of heads goes when another one comes, not when its counters are folded; its own stays."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        for version in (1, 2):
            await supervisor.prepare(version)
            await supervisor.tell("commit", version=version)
            if version == 1:
                first = supervisor.worker.table
                first.choices["a head"] = "a choice"
                await supervisor.tell("commit", version=1)
                assert first.choices
        assert first is not supervisor.worker.table
        assert not first.choices


async def test_retries_so_far_count_behind_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another table gives its routes the budgets of the one before, not fresh ones."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        for version in (1, 2):
            await supervisor.prepare(version)
            await supervisor.tell("commit", version=version)
            (route,) = supervisor.worker.table.routes
            granted = sum(route.retry_budget.take(0, 0, monotonic_ns()) for _ in range(10))
            assert granted == (ALWAYS if version == 1 else 0)


async def test_servers_that_are_out_are_settled_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends leaves no server counted as left out: nobody would ever count it back in."""
    several = CONFIG.replace('"http://127.0.0.1:9001"', '["http://127.0.0.1:9001", "http://127.0.0.1:9011"]')
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1, several)
        await supervisor.tell("commit", version=1)
        table = supervisor.worker.table
        for _ in range(5):
            table.models["one"].pool.pools[1].on_failure()
    slots = read_slots(block_path(tmp_path, "w0", 1), table.layout.size)
    counts = {key[1]: number for key, number in table.layout.counts(slots).items() if key[0] == "endpoint"}
    assert counts == {"ejected": 1, "readmitted": 1}


async def test_a_table_that_cannot_be_prepared_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full or missing run directory refuses the version and leaves the worker as it was."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        supervisor.worker.run_dir = tmp_path / "gone"
        answer = await supervisor.prepare(2)
        assert (answer["op"], answer["version"]) == ("refused", 2)
        assert "gone" in answer["reason"]
        assert await supervisor.ask() == b"HTTP/1.1 404 Not Found"


TRIED = CONFIG + "      - {name: v2, model: two, role: canary, rollout: {}}\n"
POSITION = {"route": "wine", "variant": "v2", "rollout": "00112233aabbccdd", "weight": "25"}


async def test_generations_begin_with_the_engines_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told the clock, a worker turns when an hour of it begins, with what is open and what is opened later."""
    monkeypatch.setattr(worker_module, "GENERATION_NS", 300_000_000)
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        offset_ns = 10**18 - monotonic_ns()
        await supervisor.prepare(1, TRIED, positions=[POSITION], clock_offset_ns=offset_ns)
        await supervisor.tell("commit", version=1)
        evidence = supervisor.worker.table.routes[0].evidence
        seen: set[int] = set()
        async with asyncio.timeout(10):
            while len(seen) < 3:
                generation = (monotonic_ns() + offset_ns) // 300_000_000
                if evidence.stamp == stamp_of(generation):
                    seen.add(generation)
                else:
                    # Late by less than what is left of this generation, or early by a few milliseconds.
                    assert evidence.stamp in {stamp_of(generation - 1), stamp_of(generation + 1)}
                await asyncio.sleep(0.01)
        assert max(seen) - min(seen) == 2
        # A clock that is told anew counts at once.
        await supervisor.prepare(2, clock_offset_ns=0)
        generation = monotonic_ns() // 300_000_000
        assert evidence.stamp in {stamp_of(generation), stamp_of(generation + 1), stamp_of(generation - 1)}


async def test_a_rollout_is_where_the_message_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight is the position's, and the evidence of it lies open before the first request, until it is retired."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1, TRIED, positions=[POSITION])
        await supervisor.tell("commit", version=1)
        route = supervisor.worker.table.routes[0]
        assert [variant.weight for variant in route.variants] == [75, 25]
        assert route.experiment is not None
        assert epochs(tmp_path) == {route.experiment.epoch}
        assert units_path(tmp_path, "00112233aabbccdd").stat().st_size == 2 * CELLS
        before = route.evidence
        await supervisor.prepare(2, TRIED, positions=[POSITION])
        await supervisor.tell("commit", version=2)
        assert supervisor.worker.table.routes[0].evidence is before
        await supervisor.tell("retire", versions=[1])
        before.slots[0] += 1
        await supervisor.prepare(3)
        await supervisor.tell("commit", version=3)
        await supervisor.tell("retire", versions=[2])
        with pytest.raises(ValueError, match="released"):
            before.slots[0] += 1
        await supervisor.prepare(4, TRIED)
        await supervisor.tell("commit", version=4)
        assert [variant.weight for variant in supervisor.worker.table.routes[0].variants] == [99, 1]


@pytest.mark.parametrize("what", ["position", "space"])
async def test_a_rollout_that_cannot_be_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A position that is none, and no space to count, refuse the version; the table in force stays."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        if what == "space":
            monkeypatch.setattr(evidence_module, "open_units", full)
        positions = [POSITION if what == "space" else {**POSITION, "weight": "all"}]
        answer = await supervisor.prepare(2, TRIED, positions=positions)
        assert (answer["op"], answer["version"]) == ("refused", 2)
        assert ("No space" if what == "space" else "weight") in answer["reason"]
        assert await supervisor.ask() == b"HTTP/1.1 404 Not Found"


async def test_a_split_without_space_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves all the same, and the worker says how often it found no space for evidence."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence_module, "open_units", full)
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1, TRIED.replace("rollout: {}", "weight: 5"))
        await supervisor.tell("commit", version=1)
        table = supervisor.worker.table
        assert table.routes[0].evidence is None
        assert table.slots[table.layout.section("worker").slot("evidence_failures")] == 1
        assert await supervisor.ask() == b"HTTP/1.1 404 Not Found"


async def test_a_table_that_a_request_still_holds_is_not_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retired are only versions on which nothing will be counted any more."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        for version in (1, 2, 3):
            await supervisor.prepare(version)
            await supervisor.tell("commit", version=version)
            if version == 1:
                supervisor.worker.table.undecided = 1
        assert await supervisor.tell("retire", versions=[1, 2]) == {"op": "retired", "versions": [2]}


@pytest.mark.parametrize("how", ["drain", "link"])
async def test_it_drains_when_told_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """On ``drain`` and when the supervisor is gone it stops accepting and ends."""
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        if how == "drain":
            supervisor.link.send({"op": "drain"})
        else:
            supervisor.link.close()
        async with asyncio.timeout(10):
            await task
        with pytest.raises(ConnectionRefusedError):
            await supervisor.ask()


async def test_open_connections_are_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that lives through a reload is closed under the old version and counted open under the new."""

    def counts(version: int) -> list[int]:
        table = supervisor.worker.table
        slots = read_slots(block_path(tmp_path, "w0", version), table.layout.size)
        return slots[table.slot_worker : table.slot_worker + 3]

    async with running(tmp_path, monkeypatch) as (supervisor, _):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        reader, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"}\n")
        await supervisor.prepare(2)
        await supervisor.tell("commit", version=2)
        await supervisor.tell("commit", version=2)
        assert counts(1) == [1, 0, 1]
        assert counts(2) == [0, 1, 0]
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        await supervisor.tell("retire", versions=[])
        assert counts(2) == [0, 1, 1]


async def test_draining_waits_for_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has begun is answered, told that it was the last, and then the worker ends."""
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        reader, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        async with asyncio.timeout(10):
            await reader.readuntil(b"}\n")
            supervisor.link.send({"op": "drain"})
            await supervisor.tell("retire", versions=[])
            with pytest.raises(ConnectionRefusedError):
                await supervisor.ask()
            assert not task.done()
            writer.write(b"bc")
            await reader.read()
            writer.close()
            await writer.wait_closed()
            await task


async def test_who_is_connected_already_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that the system has let in and the worker has not seen yet are served, then the door is shut."""
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1)
        await supervisor.tell("commit", version=1)
        clients = [socket.create_connection(supervisor.address) for _ in range(20)]
        for client in clients[::2]:
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
        supervisor.worker.drain()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(supervisor.address)
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            for client in clients[1::2]:
                client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
            for client in clients:
                reader, writer = await asyncio.open_connection(sock=client)
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 404 ")
                assert b"connection: close" in answer
                writer.close()
                await writer.wait_closed()
            await task


async def test_who_was_accepted_in_the_same_moment_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has accepted a connection and not said so yet when it has to drain: that one is served first."""
    door_open = Door.open

    def open_and_drain(door: Door) -> asyncio.Protocol:
        supervisor.worker.loop.call_soon(supervisor.worker.drain)  # before the connection is said to be made
        return door_open(door)

    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1)
        monkeypatch.setattr(Door, "open", open_and_drain)
        await supervisor.tell("commit", version=1)
        reader, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        async with asyncio.timeout(10):
            await reader.readuntil(b"}\n")
            assert not task.done()
            writer.write(b"bc")
            await reader.read()
            writer.close()
            await writer.wait_closed()
            await task


async def test_draining_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never ends its request does not keep the worker."""
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1, "timeouts: {drain: 10ms}\n" + CONFIG)
        await supervisor.tell("commit", version=1)
        reader, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        async with asyncio.timeout(10):
            await reader.readuntil(b"}\n")
        supervisor.link.send({"op": "drain"})
        async with asyncio.timeout(10):
            await task
            assert await reader.read() == b""
        writer.close()


async def test_how_long_it_may_take_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor's word counts more than ``timeouts.drain``, and of several words the one that ends first."""
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        await supervisor.prepare(1, "timeouts: {drain: 10ms}\n" + CONFIG)
        await supervisor.tell("commit", version=1)
        reader, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        async with asyncio.timeout(10):
            await reader.readuntil(b"}\n")
            supervisor.link.send({"op": "drain", "seconds": 3600})
            await supervisor.tell("retire", versions=[])
            await asyncio.sleep(0.1)
            assert not task.done()
            gone = asyncio.Event()
            monkeypatch.setattr(supervisor.worker, "on_client_disconnected", lambda _connection: gone.set())
            supervisor.link.send({"op": "drain", "seconds": 0.01})
            await task
            writer.close()
            await gone.wait()


@pytest.mark.parametrize("how", ["drain", "link"])
async def test_a_worker_without_a_table_drains_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """There is nothing to finish before the first commit, and nothing to complain of."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with running(tmp_path, monkeypatch) as (supervisor, task):
        if how == "drain":
            supervisor.link.send({"op": "drain"})
        else:
            supervisor.link.close()
        async with asyncio.timeout(10):
            await task
    assert complaints == []


async def test_bugs_are_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours is in the log once for each kind, however often clients provoke it."""
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        for _ in range(3):
            supervisor.worker.on_bug(ZeroDivisionError("a"))
        supervisor.worker.on_bug(KeyError("b"))
    messages = [record.getMessage() for record in caplog.records if record.name == "modelproxy.worker"]
    assert len(messages) == 2
    assert supervisor.worker.next_number() < supervisor.worker.next_number()


async def test_certificates_come_first_and_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table whose certificates did not come is refused; with them it is served, and a new one is used at once."""
    authority = Authority()
    old, new = authority.issue("localhost"), authority.issue("localhost")
    text = "tls: {certificate: c, key: k}\n" + CONFIG
    async with running(tmp_path, monkeypatch) as (supervisor, _):
        answer = await supervisor.prepare(1, text)
        assert (answer["op"], answer["version"]) == ("refused", 1)
        for identity, version in ((old, 2), (new, 0)):
            files = {"c": identity.certificate, "k": identity.key}
            supervisor.link.send({"op": "certificates", "files": files})
            if version:
                assert await supervisor.prepare(version, text) == {"op": "prepared", "version": version}
            await supervisor.tell("commit", version=2)
            pem = await asyncio.to_thread(ssl.get_server_certificate, supervisor.address)
            assert pem.split() == identity.certificate.split()
