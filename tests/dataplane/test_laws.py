"""Laws of the road: whatever clients, models, the clock and the operator do, the counts add up and nothing is left."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dataplane.pool import Pool
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.routing.table import Table
from proxy.tally import CODES, SHADOW_FIELDS
from tests.dataplane.road import Road, chunked, request, response
from tests.fakes import FakeTransport

CONFIG = """
limits: {copy: 1KiB, body: 8KiB, head: 1KiB, connections: 4}
timeouts: {client_head: 2s, client_body: 3s, keep_alive: 5s}
models:
  one: {url: "http://127.0.0.1:9001", max_connections: 2, max_pending: 2, timeout: 4s, idle_timeout: 4s}
  two: {url: "http://127.0.0.1:9002/v9", max_connections: 2, max_pending: 2, timeout: 4s}
  dark: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id, "json:/user"]
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 40}
    shadows:
      - {model: dark, percent: 70, timeout: 3s, max_in_flight: 2, max_bytes: 2KiB}
    compare: {noise: 60}
    log: {percent: 50}
"""
CHANGED = CONFIG.replace("weight: 40", "weight: 60").replace(
    "max_pending: 2, timeout", "max_pending: 1, timeout"
)

SENT = {
    "get": request(X_User_Id="alice"),
    "plain": request(body=b"abc", X_User_Id="bob"),
    "unit in body": request(body=b'{"user": "carl"}'),
    "unit in body, expects": request(body=b'{"user": "dan"}', Expect="100-continue"),
    "longer than a copy": request(body=b"x" * 1500, X_User_Id="eve"),
    "longer than a body may be": request(body=b"x" * 9000),
    "head": request(method="HEAD", X_User_Id="fay"),
    "last": request(body=b"abc", Connection="close"),
    "upgrade": request(body=b"abc", Connection="Upgrade", Upgrade="h2c"),
    "http 1.0": request(body=b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "to nowhere": request("/nowhere", b"abc"),
    "chunked": chunked(b"ab", b"c" * 100, X_User_Id="gus"),
    "chunked, longer than a body may be": chunked(b"x" * 5000, b"x" * 5000),
    "unit in chunks": chunked(b'{"user":', b'"hal"}'),
    "chunked, unfinished": chunked(b"abc").removesuffix(b"0\r\n\r\n"),
    "chunked, broken": chunked(b"abc").removesuffix(b"0\r\n\r\n") + b"zz\r\n",
    "unfinished": request(body=b"abcdef")[:-3],
    "unfinished head": b"GET /v2/mod",
    "unknown method": b"BREW / HTTP/1.1\r\n\r\n",
    "tls": b"\x16\x03\x01",
    "empty line": b"\r\n",
    "letter": b"x",
}
ANSWERED = {
    "plain": response(b"1"),
    "empty": response(b""),
    "longer than a copy": response(b"x" * 3000),
    "error": response(b"no", "503 Service Unavailable"),
    "last": response(b"1", Connection="close"),
    "unfinished": response(b"abcdef")[:-3],
    "junk behind": response(b"1") + b"junk",
    "two": response(b"1") + response(b"2"),
    "chunked": chunked(b"ab", b"c", status="200 OK"),
    "chunked, unfinished": chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"),
    "chunked, broken": chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n") + b"zz\r\n",
    "until close": b"HTTP/1.1 200 OK\r\n\r\nuntil close",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "odd status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "unfinished head": b"HTTP/1.1 200 O",
    "junk": b"junk\r\n\r\n",
}


class Step(NamedTuple):
    """One thing that happens, to the connection with this number."""

    kind: str
    which: int
    message: str
    cut: int
    seconds: float


def steps() -> st.SearchStrategy[Step]:
    """Return a strategy for what clients, models and time do."""
    number, cut = st.integers(0, 3), st.integers(0, 60)
    seconds = st.sampled_from([0.0, 0.1, 1.1, 2.1, 3.1, 5.1])

    def step(kinds: list[str], messages: list[str]) -> st.SearchStrategy[Step]:
        return st.builds(Step, st.sampled_from(kinds), number, st.sampled_from(messages), cut, seconds)

    return st.one_of(
        step(["send", "send", "send cut", "two at once"], list(SENT)),
        step(["answer", "answer", "answer cut"], list(ANSWERED)),
        step(["connect", "connect", "connect", "refuse"], [""]),
        step(["leave", "hang up", "reset", "stall", "take up", "model stalls", "model takes up"], [""]),
        step(["wait", "reload", "drain", "shipper", "open"], [""]),
    )


class Play:
    """A road and what has happened on it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.road = Road(patch, CONFIG)
        self.tables: list[Table] = [self.road.table]
        self.pools: dict[int, Pool] = {}
        self.remember_pools()

    def remember_pools(self) -> None:
        table = self.road.table
        for pool in (*(m.pool for m in table.models.values()), table.routes[0].shadows[0].pool):
            self.pools[id(pool)] = pool

    def clients(self) -> list[FakeTransport]:
        return [t for t in self.road.clients if not t.closed]

    def models(self) -> list[FakeTransport]:
        return [t for t in self.road.upstreams if not t.closed]

    def do(self, step: Step) -> None:
        """Let ``step`` happen, if there is something that it can happen to."""
        getattr(self, f"do_{step.kind.replace(' ', '_')}")(step)
        self.road.settle()

    def client(self, step: Step, act: Callable[[FakeTransport], object]) -> None:
        if clients := self.clients():
            act(clients[step.which % len(clients)])

    def model(self, step: Step, act: Callable[[FakeTransport], object]) -> None:
        if models := self.models():
            act(models[step.which % len(models)])

    def send(self, transport: FakeTransport, *pieces: bytes) -> None:
        for piece in pieces:
            if piece and transport.reading:
                self.road.feed(piece, to=transport)

    def do_send(self, step: Step) -> None:
        self.client(step, lambda t: self.send(t, SENT[step.message]))

    def do_send_cut(self, step: Step) -> None:
        data = SENT[step.message]
        self.client(step, lambda t: self.send(t, data[: step.cut], data[step.cut :]))

    def do_two_at_once(self, step: Step) -> None:
        self.client(step, lambda t: self.send(t, SENT[step.message] * 2))

    def reply(self, transport: FakeTransport, *pieces: bytes) -> None:
        for piece in pieces:
            if piece and transport.reading:
                self.road.answer(transport, piece)

    def do_answer(self, step: Step) -> None:
        self.model(step, lambda t: self.reply(t, ANSWERED[step.message]))

    def do_answer_cut(self, step: Step) -> None:
        data = ANSWERED[step.message]
        self.model(step, lambda t: self.reply(t, data[: step.cut], data[step.cut :]))

    def do_connect(self, step: Step) -> None:
        if self.road.wanted:
            self.road.connect()

    def do_refuse(self, step: Step) -> None:
        if self.road.wanted:
            self.road.refuse_connect(Fault.CONNECT if step.which else Fault.CONNECT_TIMEOUT)

    def do_leave(self, step: Step) -> None:
        self.client(step, self.road.leave)

    def do_hang_up(self, step: Step) -> None:
        self.model(step, self.road.hang_up)

    def do_reset(self, step: Step) -> None:
        self.model(step, lambda t: self.road.hang_up(t, ConnectionResetError()))

    def do_stall(self, step: Step) -> None:
        self.client(step, lambda t: t.stall(70_000 + step.cut) if not t.unsent else None)

    def do_take_up(self, step: Step) -> None:
        self.client(step, lambda t: t.take_up() if t.unsent else None)

    def do_model_stalls(self, step: Step) -> None:
        self.model(step, lambda t: t.stall(70_000) if not t.unsent else None)

    def do_model_takes_up(self, step: Step) -> None:
        self.model(step, lambda t: t.take_up() if t.unsent else None)

    def do_wait(self, step: Step) -> None:
        self.road.wait(step.seconds)

    def do_reload(self, step: Step) -> None:
        self.tables.append(self.road.swap(CHANGED if len(self.tables) % 2 else CONFIG))
        self.remember_pools()

    def do_drain(self, step: Step) -> None:
        self.road.worker.draining = step.which == 0

    def do_shipper(self, step: Step) -> None:
        self.road.worker.shipper.accepts = not self.road.worker.shipper.accepts

    def do_open(self, step: Step) -> None:
        if len(self.road.clients) < 12:
            self.road.add_client()

    def end(self) -> None:
        """Let everybody leave, and the rest run out."""
        for transport in self.road.clients:
            self.road.leave(transport)
        while self.road.wanted:
            self.road.refuse_connect()
        for transport in self.road.upstreams:
            self.road.hang_up(transport)
        self.road.wait(100)


def check_variants(table: Table) -> None:
    """Every request that was started has exactly one code."""
    for route in table.routes:
        for variant in route.variants:
            codes = table.slots[variant.slot_codes : variant.slot_codes + CODES]
            assert table.slots[variant.slot_started] == sum(codes)
            durations = table.slots[variant.slot_duration : variant.slot_duration_sum]
            whole = table.slots[variant.slot_whole : variant.slot_whole_sum]
            assert sum(durations) + sum(whole) == sum(codes)


def check_shadows(table: Table, parts: list[Primary | ShadowPart]) -> None:
    """Every copy has exactly one end, and those that were handed over are there."""
    for route in table.routes:
        for shadow in route.copies:
            values = table.slots[shadow.slot : shadow.slot + len(SHADOW_FIELDS)]
            at = dict(zip(SHADOW_FIELDS, values, strict=True))
            dropped = sum(number for field, number in at.items() if field.startswith("dropped_"))
            assert at["eligible"] == at["sent"] + dropped
            assert at["sent"] == at["answered"] + at["failed"]
            assert at["answered"] == at["shipped"] + at["not_compared"] + at["comparison_dropped"]
            mine = [p for p in parts if isinstance(p, ShadowPart) and p.version == table.version]
            assert at["shipped"] == sum(not part.fault for part in mine if part.shadow == shadow.index)
            assert shadow is not route.noise or {part.variant for part in mine if part.shadow} <= {0}


def check_payload(table: Table, parts: list[Primary | ShadowPart]) -> None:
    """Every exchange of the log's sample is handed over or counted as dropped."""
    for route in table.routes:
        sampled, shipped, dropped = table.slots[route.slot_payload : route.slot_payload + 3]
        assert sampled == shipped + dropped
        mine = [p for p in parts if isinstance(p, Primary) and p.version == table.version]
        assert shipped == sum(bool(part.flags & Flag.LOGGED) for part in mine)


@given(script=st.lists(steps(), min_size=1, max_size=40))
@settings(max_examples=400)
@pytest.mark.slow
def test_everything_ends_and_adds_up(script: list[Step]) -> None:
    """Whatever happens, every request and every copy ends exactly once, and no connection is left or stopped."""
    with pytest.MonkeyPatch.context() as patch:
        play = Play(patch)
        for step in script:
            play.do(step)
            for pool in play.pools.values():
                assert not any(c.read_paused or c.sink or c.transport.is_closing() for c in pool.idle)
        play.end()
        road = play.road
        assert road.worker.bugs == []
        assert road.loop.errors == []
        assert road.worker.connected == 0
        parts = road.worker.shipper.parts()
        for table in play.tables:
            check_variants(table)
            check_shadows(table, parts)
            check_payload(table, parts)
            assert table.undecided == 0
        for pool in play.pools.values():
            state = (pool.open, pool.connecting, len(pool.waiting), pool.in_flight, pool.in_flight_bytes)
            assert state == (0, 0, 0, 0, 0)


@given(script=st.lists(steps(), min_size=1, max_size=40))
@settings(max_examples=200)
@pytest.mark.slow
def test_nobody_is_held_for_ever(script: list[Step]) -> None:
    """Whatever happened, when everybody falls silent every connection ends by its deadlines alone."""
    with pytest.MonkeyPatch.context() as patch:
        play = Play(patch)
        for step in script:
            play.do(step)
        for _ in range(
            8
        ):  # a request, its retry, the champion, its retry; once for each of two pipelined ones
            while play.road.wanted:
                play.road.refuse_connect(Fault.CONNECT_TIMEOUT)
            play.road.wait(120)
        assert all(transport.lost for transport in play.road.clients)
        assert all(transport.lost for transport in play.road.upstreams)
        for table in play.tables:
            check_variants(table)
