"""The adaptive limit: it finds what a model can take, follows it, and never loses count."""

import heapq
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.overload import CALIBRATION_SAMPLES, ROUND_NS, AdaptiveLimit, Limits
from proxy.model import Fault
from tests.dataplane.road import Road, build_table, named, read_answers, request, response, statuses

MS = 1_000_000
MINUTE_NS = 60_000 * MS


class Server:
    """A model server in simulated time: ``width`` requests at once, the others queue."""

    def __init__(self, width: int, service_ns: int) -> None:
        self.width = width
        self.service_ns = service_ns
        self.free_ns: list[int] = []
        """When each of the requests that are worked on ends."""

    def answer_ns(self, now_ns: int) -> int:
        """Take a request; return when it is answered."""
        start_ns = now_ns
        if len(self.free_ns) >= self.width:
            start_ns = max(now_ns, heapq.heappop(self.free_ns))
        heapq.heappush(self.free_ns, start_ns + self.service_ns)
        return start_ns + self.service_ns


def drive(limit: AdaptiveLimit, server: Server, start_ns: int, seconds: float, per_second: int) -> list[int]:
    """Send requests evenly for a while; return the limit at the end of each second."""
    under_way: list[tuple[int, int]] = []
    gap_ns = 1_000_000_000 // per_second
    seen = []
    for i in range(int(seconds * per_second)):
        now_ns = start_ns + i * gap_ns
        while under_way and under_way[0][0] <= now_ns:
            end_ns, began_ns = heapq.heappop(under_way)
            limit.leave(end_ns - began_ns, end_ns)
        if limit.enter():
            heapq.heappush(under_way, (server.answer_ns(now_ns), now_ns))
        if (i + 1) % per_second == 0:
            seen.append(limit.limit)
    while under_way:
        end_ns, began_ns = heapq.heappop(under_way)
        limit.leave(end_ns - began_ns, end_ns)
    return seen


@pytest.mark.parametrize("width", [4, 16, 64])
def test_finds_what_the_model_takes(width: int) -> None:
    """Under four times the load a model can carry, the limit settles where its queue is short."""
    limit = AdaptiveLimit(3, 1000, 0.25, MINUTE_NS, 0)
    server = Server(width, 20 * MS)
    seen = drive(limit, server, 0, 10, 4 * width * 50)
    settled = sorted(seen[3:])
    assert width * 0.8 <= settled[0]
    assert settled[-1] <= width * 2 + 8


def test_an_idle_model_is_not_held_back() -> None:
    """While times stay flat the limit grows up to ``max``."""
    limit = AdaptiveLimit(3, 200, 0.25, MINUTE_NS, 0)
    assert drive(limit, Server(1000, 5 * MS), 0, 10, 2000)[-1] == 200


def test_a_model_that_becomes_slow_gets_less() -> None:
    """When the time to answer triples, the limit falls within seconds."""
    limit = AdaptiveLimit(3, 1000, 0.25, MINUTE_NS, 0)
    server = Server(64, 20 * MS)
    before = drive(limit, server, 0, 5, 3200)[-1]
    server.free_ns.clear()
    server.width = 16
    after = drive(limit, server, 5_000 * MS, 5, 3200)[-1]
    assert after < before / 2


def test_slower_for_good_is_learnt() -> None:
    """A model that answers three times slower when idle too is measured anew, and gets its share back."""
    limit = AdaptiveLimit(3, 100, 0.25, MINUTE_NS, 0)
    server = Server(50, 10 * MS)
    drive(limit, server, 0, 5, 1000)
    server.free_ns.clear()
    server.service_ns = 30 * MS
    assert drive(limit, server, 5_000 * MS, 10, 1000)[-1] > 20


def test_calibration_lets_few_through() -> None:
    """While the base is measured no more than ``min`` are under way, and it is measured again when it is time."""
    limit = AdaptiveLimit(2, 100, 0.25, MINUTE_NS, 0)
    assert [limit.enter() for _ in range(3)] == [True, True, False]
    limit.leave(MS, 0)
    limit.leave(MS, 0)
    for _ in range(CALIBRATION_SAMPLES - 2):
        assert limit.enter()
        limit.leave(MS, 0)
    assert not limit.is_calibrating
    for i in range(1, 20):
        assert limit.enter()
        limit.leave(MS, i * ROUND_NS)
    grown = limit.limit
    assert grown > 10
    assert limit.enter()
    limit.leave(MS, 2 * MINUTE_NS)
    assert (limit.is_calibrating, limit.limit) == (True, 2)


@given(
    lowest=st.integers(1, 10),
    room=st.integers(0, 100),
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 10_000 * MS), st.integers(0, 2 * MINUTE_NS)), max_size=300
    ),
)
def test_law_of_the_limit(lowest: int, room: int, steps: list[tuple[bool, int, int]]) -> None:
    """Whatever comes, the limit stays within its bounds, and what is shown is what is in force."""
    limit = AdaptiveLimit(lowest, lowest + room, 0.25, MINUTE_NS, 0)
    slots = [0, 0]
    limit.move(slots, 0)
    now_ns = under_way = 0
    for is_arrival, ttfb_ns, pause_ns in steps:
        now_ns += pause_ns
        if is_arrival:
            assert limit.enter() == (under_way < limit.limit)
            under_way = limit.in_flight
        elif under_way:
            limit.leave(ttfb_ns, now_ns)
            under_way -= 1
        assert limit.in_flight == under_way
        assert lowest <= limit.limit <= lowest + room
        assert slots[0] - slots[1] == limit.limit
    limit.move(None, 0)
    assert slots[0] == slots[1]


CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002", adaptive_concurrency: {min: 1}}
  dark: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 100}
"""


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A challenger that gets one request at once for now, and a champion."""
    road = Road(monkeypatch, CONFIG)
    Limits().attach(road.table)
    return road


def test_what_is_over_the_limit_goes_to_the_champion(road: Road) -> None:
    """The second request does not wait for a model that is being measured."""
    road.feed(request(X_User_Id="u"))
    first = road.connect()
    other = road.add_client()
    road.feed(request(X_User_Id="u"), to=other)
    champion = road.connect()
    road.answer(champion, response(b"1"))
    (answer,) = read_answers(road.received(other))
    assert answer.fields[b"x-modelproxy-variant"] == b"v1"
    assert named(road, "model", "fault_") == {"fault_overload": 1}
    road.answer(first, response(b"2"))
    road.feed(request(X_User_Id="u"), to=other)
    assert road.wanted == []
    road.answer(first, response(b"3"))
    assert statuses(road.received(other)) == [200]


def test_without_a_champion_to_help_it_is_refused(road: Road) -> None:
    """503, and when to come again."""
    road.swap(CONFIG + "    fallback: []\n")
    Limits().attach(road.table)
    road.feed(request(X_User_Id="u"))
    other = road.add_client()
    road.feed(request(X_User_Id="u"), to=other)
    (answer,) = read_answers(road.received(other))
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")


@pytest.mark.parametrize("end", ["answered", "hung up", "client left", "refused", "timeout"])
def test_every_end_makes_room(road: Road, end: str) -> None:
    """However a request ends, it is counted out."""
    road.swap(CONFIG + "    fallback: []\n    retry: []\n    timeout: 10s\n")
    Limits().attach(road.table)
    limit = road.table.models["two"].limit
    road.feed(request(X_User_Id="u"))
    assert limit.in_flight == 1
    if end == "refused":
        road.refuse_connect(Fault.CONNECT)
    elif end == "timeout":
        road.wait(11)
    else:
        model = road.connect()
        ends: dict[str, Callable[[], None]] = {
            "answered": lambda: road.answer(model, response(b"1")),
            "hung up": lambda: road.hang_up(model),
            "client left": road.leave,
        }
        ends[end]()
    assert limit.in_flight == 0


def test_copies_are_shed_before(road: Road) -> None:
    """While the model has more than three quarters of what it takes, shadows get nothing."""
    road.swap(CONFIG + "    shadows: [{model: dark}]\n")
    Limits().attach(road.table)
    road.feed(request(X_User_Id="u"))
    assert named(road, "shadow", "dropped_overload") == {"dropped_overload": 1}


def test_a_reload_forgets_nothing() -> None:
    """The limit of a model that did not change is carried over; under the old table nothing of it is left."""
    limits = Limits()
    first = build_table(CONFIG)
    limits.attach(first)
    learnt = first.models["two"].limit
    second = build_table(CONFIG + "    timeout: 5s\n", 2)
    limits.attach(second)
    assert second.models["two"].limit is learnt
    slot = first.models["two"].slot_limit
    assert first.slots[slot] == first.slots[slot + 1] == 1
    assert second.slots[second.models["two"].slot_limit] == 1
    third = build_table(CONFIG.replace("min: 1", "min: 2"), 3)
    limits.attach(third)
    assert third.models["two"].limit is not learnt
