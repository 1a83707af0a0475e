"""Clients of every temper: each takes the next of its orders, does it, and notes how it ended."""

import asyncio
import contextlib
from collections.abc import Callable
from zlib import crc32

import orjson

from proxy.clock import monotonic_ns
from tests.soak.books import End, Entry
from tests.soak.messages import GOODBYE, BrokenOffError, Head, chunk, chunks, has_ended, read_body, read_head
from tests.soak.mix import FORCE_SECRET, Kind, Order, order, predicted_label
from tests.soak.model import body_of

__all__ = ["Client"]

PATIENCE_S = 60.0
"""No request takes longer; one that does is a failure."""

LONGEST_THOUGHT_S = 0.12

_LAST_EVENT = b"data: [DONE]\n\n"


class Line:
    """One open connection."""

    def __init__(self, opened_ns: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened_ns = opened_ns
        self.reader = reader
        self.writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]


class Client:
    """One client: its connection is kept as long as both sides want.

    Args:
        address: host and port of the proxy.
        seed: of the run.
        first: its first order; from then on every ``step``-th.
        step: how many clients there are.
        note: takes the entries.
    """

    def __init__(
        self, address: tuple[str, int], seed: int, first: int, step: int, note: Callable[[Entry], None]
    ) -> None:
        self._address = address
        self._seed = seed
        self._next = first
        self._step = step
        self._note = note
        self._line: Line | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out orders until ``stop``."""
        while not stop.is_set():
            wanted = order(self._seed, self._next)
            self._next += self._step
            await asyncio.sleep(wanted.pause_s * LONGEST_THOUGHT_S)
            await self._carry_out(wanted)
        self._hang_up()

    async def _carry_out(self, wanted: Order) -> None:
        line = await self._connected(wanted)
        if line is None:
            return
        orders = [wanted]
        if wanted.kind is Kind.PIPELINED:
            while len(orders) < 2 + wanted.luck % 4:
                extra = order(self._seed, self._next)
                self._next += self._step
                orders.append(Order(extra.number, Kind.PIPELINED, extra.user, extra.luck, 120, 0.0))
        entries = [Entry(each, line.port, line.opened_ns, monotonic_ns(), 0, End.BROKEN) for each in orders]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._exchange(line, entries)
        except TimeoutError:
            entries[-1].wrong = f"not over within {PATIENCE_S:.0f} s"
        except (BrokenOffError, OSError):
            pass
        for entry in entries:
            entry.ended_ns = entry.ended_ns or monotonic_ns()
            self._note(entry)
        if entries[-1].end is not End.WHOLE or wanted.kind in (Kind.FRESH, Kind.JUNK, Kind.TUNNEL):
            self._hang_up()

    async def _connected(self, wanted: Order) -> Line | None:
        line = self._line
        if line is not None and (has_ended(line.reader) or line.writer.is_closing()):
            self._hang_up()
            line = None
        if line is None or wanted.kind in (Kind.FRESH, Kind.JUNK):
            self._hang_up()
            began_ns = monotonic_ns()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    line = self._line = Line(began_ns, *await asyncio.open_connection(*self._address))
            except (OSError, TimeoutError) as error:
                now_ns = monotonic_ns()
                entry = Entry(wanted, 0, began_ns, began_ns, now_ns, End.NO_CONNECTION, wrong=repr(error))
                self._note(entry)
        return line

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.writer.close()

    async def _exchange(self, line: Line, entries: list[Entry]) -> None:
        first = entries[0].order
        if first.kind is Kind.PIPELINED:
            line.writer.write(b"".join(request(entry.order) for entry in entries))
        elif first.kind is Kind.JUNK:
            line.writer.write(b"\x00\x01 what is this\r\n\r\n")
        else:
            with contextlib.suppress(
                OSError
            ):  # an early answer, and the connection closed: the answer counts
                await self._send(line, first)
        if first.kind in (Kind.LEAVE_WAIT, Kind.LEAVE_UPLOAD):
            await asyncio.sleep(0.03 + first.luck % 40 / 1000)
            self._leave(line, entries[0])
            return
        for entry in entries:
            await self._receive(line, entry)
            if entry.end is not End.WHOLE:
                return

    async def _send(self, line: Line, wanted: Order) -> None:
        writer, body = line.writer, payload(wanted)
        if wanted.kind is Kind.CHUNKED:
            writer.write(request(wanted))
            step = 1 + wanted.luck % 30_000
            for start in range(0, len(body), step):
                writer.write(chunk(body[start : start + step]))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif wanted.kind is Kind.SLOW_SEND:
            whole = request(wanted)
            for start in range(0, len(whole), 20_000):
                writer.write(whole[start : start + 20_000])
                await writer.drain()
                await asyncio.sleep(0.05)
        else:
            whole = request(wanted)
            writer.write(whole[: len(whole) // 3] if wanted.kind is Kind.LEAVE_UPLOAD else whole)
        await writer.drain()

    def _leave(self, line: Line, entry: Entry) -> None:
        entry.ended_ns = monotonic_ns()
        entry.end = End.LEFT
        if entry.order.luck % 2:
            line.writer.transport.abort()
        self._hang_up()

    async def _receive(self, line: Line, entry: Entry) -> None:
        head = await read_head(line.reader)
        if head is None:
            return
        entry.end = End.CUT
        entry.status = head.status
        entry.variant = head.fields.get("x-modelproxy-variant", "")
        entry.attempt = head.fields.get("x-attempt", "")
        if head.fields.get("x-request-id") != entry.order.identity and entry.order.kind is not Kind.JUNK:
            entry.wrong = f"request id {head.fields.get('x-request-id')!r}"
        if entry.variant and "events" in entry.order.asks.values():
            await self._read_events(line, entry)
            return
        if entry.status == 101:
            await self._talk(line, entry)
            return
        bodiless = entry.order.method == "HEAD" or head.status in (204, 304)
        pause_s = 0.03 if entry.order.kind is Kind.SLOW_READ else 0.0
        body = b"" if bodiless else await read_body(line.reader, head, pause_s)
        entry.end = End.WHOLE
        if entry.variant and not entry.wrong:
            entry.wrong = fault_in(entry, head, body)
        if head.fields.get("connection") == "close":
            self._hang_up()

    async def _talk(self, line: Line, entry: Entry) -> None:
        """Send pieces through the tunnel and have each of them back, then end our side and see the other end."""
        data = body_of(entry.order.identity, entry.order.tunnelled)
        for start in range(0, len(data), 20_000):
            piece = data[start : start + 20_000]
            line.writer.write(piece)
            try:
                echo = await line.reader.readexactly(len(piece))
            except asyncio.IncompleteReadError:
                return
            if echo != piece:
                entry.wrong = "not the bytes that were sent"
        line.writer.write_eof()
        if await line.reader.read(-1) == GOODBYE:
            entry.end = End.WHOLE

    async def _read_events(self, line: Line, entry: Entry) -> None:
        delays: list[int] = []
        last = b""
        async for last in chunks(line.reader):
            now_ns = monotonic_ns()
            if last == _LAST_EVENT:
                continue
            number, written_ns = map(int, last.split()[1:])
            if number != len(delays):
                entry.wrong = f"event {number} where {len(delays)} was due"
            delays.append(now_ns - written_ns)
            if entry.order.kind is Kind.LEAVE_STREAM and number == 2:
                self._leave(line, entry)
                return
        entry.event_delays_ns = tuple(delays)
        entry.end = End.WHOLE
        if last != _LAST_EVENT or len(delays) != int(entry.order.asks["x-size"]):
            entry.wrong = f"a stream of {len(delays)} events that ends with {last!r}"


def payload(wanted: Order) -> bytes:
    """Return the request's body."""
    if not wanted.size:
        return b""
    if wanted.kind in (Kind.LARGE_UP, Kind.LEAVE_UPLOAD, Kind.CHUNKED, Kind.SLOW_SEND):
        return body_of(wanted.identity, wanted.size)
    document = {"user": wanted.user, "inputs": [{"name": "x", "data": "x" * (wanted.size - 50)}]}
    return orjson.dumps(document)


def request(wanted: Order) -> bytes:
    """Return the request: whole, or without its chunks."""
    body = payload(wanted)
    lines = [f"{wanted.method} {wanted.path} HTTP/1.1", "host: soak", f"x-request-id: {wanted.identity}"]
    if wanted.kind is not Kind.BODY_UNIT:
        lines.append(f"x-user-id: {wanted.user}")
    if wanted.forced:
        lines += [
            f"x-modelproxy-force: {wanted.forced}",
            f"x-modelproxy-force-secret: {FORCE_SECRET}",
        ]
    lines += [f"{name}: {value}" for name, value in wanted.asks.items()]
    if wanted.kind is Kind.FRESH:
        lines.append("connection: close")
    if wanted.kind is Kind.CHUNKED:
        return "\r\n".join((*lines, "transfer-encoding: chunked", "", "")).encode()
    if wanted.method == "POST":
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + body


def fault_in(entry: Entry, head: Head, body: bytes) -> str:
    """Return what is wrong with a model's whole answer; empty: nothing."""
    wanted = entry.order
    model = head.fields.get("x-model", "")
    if head.fields.get("x-crc") != f"{crc32(payload(wanted)):08x}":
        return "the model read another body than was sent"
    if wanted.kind in (Kind.LARGE_DOWN, Kind.SLOW_READ):
        right = body == body_of(entry.attempt, int(wanted.asks["x-size"]))
    elif wanted.kind is Kind.ERROR:
        right = body == body_of(entry.attempt, 120)
    elif wanted.kind in (Kind.HEAD, Kind.NO_CONTENT, Kind.NOT_MODIFIED):
        right = body == b""
    else:
        document = orjson.loads(body)
        label = document["outputs"][0]["data"][0]
        right = document["id"] == entry.attempt and label == predicted_label(model, wanted.identity)
    return "" if right else f"not the body that {entry.attempt} wrote"
