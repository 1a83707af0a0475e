"""What follows a failure: the same model again, the champion, or the failure. Never two answers, never a lost count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.attempts import ALWAYS, BACK_OFF_NS, WINDOW_NS, RetryBudget, attach_budgets
from proxy.exchange import Flag, Primary
from proxy.model import Fault
from tests.dataplane.road import (
    Road,
    build_table,
    chunked,
    named,
    read_answers,
    request,
    response,
    statuses,
    told,
)

CONFIG = """
limits: {copy: 1KiB}
trusted: [198.51.100.0/24]
models:
  one: {url: "http://127.0.0.1:9001", max_connections: 4, max_pending: 8}
  two: {url: "http://127.0.0.1:9002/v9/other", max_connections: 1, max_pending: 0}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 100}
    log: {percent: 100}
"""
CHAMPION_ONLY = CONFIG.replace("      - {name: v2, model: two, role: challenger, weight: 100}\n", "")
BACK_OFF_S = BACK_OFF_NS / 1e9


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A challenger that has all the traffic, and a champion to fall back to."""
    return Road(monkeypatch, CONFIG)


def with_route(*lines: str, config: str = CONFIG) -> str:
    """Return the configuration with further lines in its route."""
    return config + "".join(f"    {line}\n" for line in lines)


def primary(road: Road) -> Primary:
    """Return the one exchange that was handed over."""
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    return part


def refuse_twice(road: Road) -> None:
    """No connection, nor at the retry."""
    road.refuse_connect()
    road.wait(BACK_OFF_S)
    road.refuse_connect()


# Retry


def test_connect_failure_is_tried_again(road: Road) -> None:
    """A model that was not there and is there a moment later: the client never knows."""
    road.swap(with_route(config=CHAMPION_ONLY))
    road.feed(request(body=b"abc", X_User_Id="u"))
    road.refuse_connect()
    assert (road.wanted, road.received()) == ([], b""), "not at once: it is restarting"
    road.wait(BACK_OFF_S)
    model = road.connect()
    assert model.take().endswith(b"\r\n\r\nabc")
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]
    assert named(road, "variant", "retries") == {"retries": 1}
    assert named(road, "model") == {"fault_connect": 1}
    assert told(primary(road)).fault == Fault.NONE
    assert primary(road).flags & Flag.RETRIED


def test_another_server_is_asked_at_once(road: Road) -> None:
    """Where a model has several servers, the first retry goes to another one without a pause."""
    road.swap(
        CHAMPION_ONLY.replace('"http://127.0.0.1:9001"', '["http://127.0.0.1:9001", "http://127.0.0.1:9011"]')
    )
    road.feed(request(body=b"abc", X_User_Id="u"))
    (first,) = road.wanted
    road.refuse_connect()
    (second,) = road.wanted
    assert {first.port, second.port} == {9001, 9011}
    road.answer(road.connect(), response(b"1"))
    assert statuses(road.received()) == [200]


def test_attempts_are_bounded(road: Road) -> None:
    """After ``retry_attempts`` retries, each after a longer pause, the client is told."""
    road.swap(with_route("retry_attempts: 3", config=CHAMPION_ONLY))
    road.feed(request(X_User_Id="u"))
    for attempt in range(3):
        road.refuse_connect()
        road.wait(BACK_OFF_S / 2 * 2**attempt - 0.001)
        assert road.wanted == []
        road.wait(BACK_OFF_S / 2 * 2**attempt + 0.001)
    assert road.received() == b""
    road.refuse_connect()
    assert statuses(road.received()) == [502]
    assert named(road, "variant", "retries") == {"retries": 3}
    assert named(road, "model") == {"fault_connect": 4}


def test_budget_bounds_retries(road: Road) -> None:
    """When everything fails, retries stay a few percent of the requests."""
    road.swap(with_route("retry_budget: 10", config=CHAMPION_ONLY))
    for _ in range(100):
        road.feed(request(X_User_Id="u"))
        while road.wanted:
            road.refuse_connect()
            road.wait(BACK_OFF_S)
    assert statuses(road.received()) == [502] * 100
    retries = named(road, "variant", "retries")["retries"]
    assert 10 <= retries <= 10 + ALWAYS


@given(
    percent=st.floats(0, 100),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=40),
)
def test_law_of_the_budget(percent: float, steps: list[tuple[int, int]]) -> None:
    """At one time no more retries are granted than the percent of the requests, and three; later all is forgotten."""
    budget, started, granted = RetryBudget(0, 0), 0, 0
    for requests, wishes in steps:
        started += requests
        granted += sum(budget.take(percent, started, 0) for _ in range(wishes))
        assert granted <= ALWAYS + started * percent / 100
    assert budget.take(0, started, 20 * WINDOW_NS)


@given(st.floats(0, 100), st.integers(1, 10_000), st.integers(1, 100), st.integers(1, 2_000))
def test_law_of_lasting_failure(percent: float, requests_s: int, looks_s: int, wishes: int) -> None:
    """However often it is asked, in the long run the share that is granted is the percent, over three in a window."""
    budget, granted = RetryBudget(0, 0), 0
    for step in range(1, 30 * looks_s + 1):
        now_ns, started = step * 10**9 // looks_s, step * requests_s // looks_s
        granted += sum(budget.take(percent, started, now_ns) for _ in range(-(-wishes // looks_s)))
    most = ALWAYS * 4 + 30 * requests_s * percent / 100
    assert granted <= most * 1.05 + 30 * looks_s / 10 + 1


def test_the_past_gives_credit() -> None:
    """A server that dies after hours of peace: all who are just then with it are tried again, not the first three."""
    hour_ns = 3_600 * 10**9
    budget = RetryBudget(0, 0)
    granted = sum(budget.take(20, 360_000, hour_ns) for _ in range(1_000))
    assert granted == pytest.approx(ALWAYS + 200, abs=1)  # 100 requests a second: 1000 in the window


def test_the_budget_goes_on_behind_a_reload(road: Road) -> None:
    """A reload neither takes the credit of the requests so far nor forgets the retries."""
    before = road.table
    before.slots[before.routes[0].variants[0].slot_started] = 100
    attach_budgets(before, None, 0)
    budget: RetryBudget = before.routes[0].retry_budget
    assert budget.take(20, 1_100, 10**9)
    before.slots[before.routes[0].variants[0].slot_started] = 1_100
    after = build_table(CONFIG, 2)
    attach_budgets(after, before, 10**9)
    budget = after.routes[0].retry_budget
    granted = sum(budget.take(20, 0, 10**9) for _ in range(1_000))
    assert granted == pytest.approx(ALWAYS + 200 * 0.95 - 1, abs=2)
    renamed = build_table(CONFIG.replace("name: wine", "name: beer"), 3)
    attach_budgets(renamed, after, 10**9)
    assert sum(renamed.routes[0].retry_budget.take(20, 0, 10**9) for _ in range(10)) == ALWAYS


@pytest.mark.parametrize(
    ("listed", "answers"),
    [
        ("[reset]", {"hang up": True, "503": False}),
        ("[503]", {"hang up": False, "503": True}),
        ("[]", {"hang up": False, "503": False}),
    ],
)
def test_only_what_is_listed_is_tried_again(road: Road, listed: str, answers: dict[str, bool]) -> None:
    """Beyond connect-failure nothing is sent twice unless the operator says that it may be."""
    for failure, again in answers.items():
        road.swap(with_route(f"retry: {listed}", config=CHAMPION_ONLY))
        road.feed(request(body=b"abc", X_User_Id="u"))
        model = road.connect() if road.wanted else road.upstreams[-1]
        if failure == "503":
            road.answer(model, response(b"no", "503 Service Unavailable"))
        else:
            road.hang_up(model)
        assert (statuses(road.received()) == []) == again
        if again:
            road.wait(BACK_OFF_S)
            model = road.connect() if road.wanted else model
            road.answer(model, response(b"1"))
            assert statuses(road.received()) == [200]


def test_client_that_leaves_during_the_pause(road: Road) -> None:
    """Nobody is asked for somebody who is gone."""
    road.swap(with_route(config=CHAMPION_ONLY))
    road.feed(request(X_User_Id="u"))
    road.refuse_connect()
    road.leave()
    road.wait(1)
    assert road.wanted == []
    assert named(road, "variant", "code_") == {"code_499": 1}


# Fallback


def refused(road: Road) -> None:
    refuse_twice(road)


def silent(road: Road) -> None:
    road.connect()
    road.wait(30.1)


def closed(road: Road) -> None:
    road.hang_up(road.connect())


def garbage(road: Road) -> None:
    road.answer(road.connect(), b"SSH-2.0\r\n")


def plain_503(road: Road) -> None:
    road.answer(road.connect(), response(b"no", "503 Service Unavailable"))


def streamed_502(road: Road) -> None:
    road.answer(road.connect(), chunked(b"no", status="502 Bad Gateway")[:-5])


def cut_504(road: Road) -> None:
    road.answer(road.connect(), response(b"nope", "504 Gateway Timeout")[:-2])


FAILURES = {
    "refused": (refused, Fault.CONNECT),
    "silent": (silent, Fault.TIMEOUT),
    "closed": (closed, Fault.RESET),
    "garbage": (garbage, Fault.PROTOCOL),
    "503": (plain_503, Fault.STATUS),
    "502 in chunks": (streamed_502, Fault.STATUS),
    "504 in pieces": (cut_504, Fault.STATUS),
}
BODIES = {
    "length": request(body=b"abc", X_User_Id="u"),
    "chunked": chunked(b"ab", b"c", trailer="X-Sum: 1\r\n", X_User_Id="u"),
    "none": request(method="GET", X_User_Id="u"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize(("fail", "fault"), FAILURES.values(), ids=FAILURES.keys())
def test_champion_answers(road: Road, fail: object, fault: Fault, body: bytes) -> None:
    """The champion gets the same request under its own path; the fault is the challenger's, and so is the request."""
    assert callable(fail)
    road.feed(body)
    fail(road)
    assert road.received() == b""
    champion = road.connect()
    sent = champion.take()
    assert sent.startswith(body[:30].split(b" HTTP")[0])
    tail = body.partition(b"\r\n\r\n")[2]
    assert sent.endswith(b"\r\n\r\n" + tail)
    road.answer(champion, response(b"1"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.body, answer.fields[b"x-modelproxy-variant"]) == (200, b"1", b"v1")
    assert road.count("variant", "code_200", "wine", "v2", "two") == 1
    assert road.count("variant", "fallbacks", "wine", "v2", "two") == 1
    assert road.count("variant", "started", "wine", "v1", "one") == 0
    assert road.count("model", f"fault_{fault.label}", "two") >= 1
    record = primary(road)
    assert (record.variant, record.served_by, told(record).fault, record.status) == (1, 0, fault, 200)
    assert not record.flags & Flag.CUT
    assert road.worker.in_flight == 0


def test_champion_answers_when_there_is_no_room(road: Road) -> None:
    """A challenger with all connections busy and no room to wait gives its requests to the champion at once."""
    road.feed(request(X_User_Id="u"))
    road.connect()
    other = road.add_client()
    road.feed(request(body=b"abc", X_User_Id="u"), to=other)
    champion = road.connect()
    assert champion.take().endswith(b"\r\n\r\nabc")
    road.answer(champion, response(b"1"))
    assert statuses(road.received(other)) == [200]
    assert named(road, "model") == {"fault_overflow": 1}


def test_champion_gets_the_rest_of_a_body_under_way(road: Road) -> None:
    """A fallback in the middle of an upload: what has come is sent again, the rest as it comes."""
    data = request(body=b"abcdef", X_User_Id="u")
    road.feed(data[:-4], data[-4:-3])
    road.hang_up(road.connect())
    champion = road.connect()
    assert champion.take().endswith(b"\r\n\r\nabc")
    road.feed(data[-3:])
    assert champion.take() == b"def"
    road.answer(champion, response(b"1"))
    assert statuses(road.received()) == [200]


def test_no_fallback_of_a_body_that_is_not_at_hand(road: Road) -> None:
    """Of a long upload only ``limits.copy`` is kept: past it the challenger's failure is the client's."""
    data = request(body=b"x" * 3000, X_User_Id="u")
    road.feed(data[:-2900])
    model = road.connect()
    road.feed(data[-2900:-1500], data[-1500:])
    road.answer(model, response(b"no", "503 Service Unavailable"))
    assert statuses(road.received()) == [503]
    assert named(road, "variant", "fallbacks") == {}
    assert named(road, "model") == {}


def test_no_fallback_after_the_first_byte(road: Road) -> None:
    """Two answers are never spliced: what has begun ends so that the client can tell."""
    road.feed(request(X_User_Id="u"))
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK")[:-5])
    road.hang_up(model)
    (answer,) = read_answers(road.received())
    assert not answer.is_whole
    assert road.wanted == []
    assert primary(road).flags & Flag.CUT


def test_the_champion_falls_back_to_nobody(road: Road) -> None:
    """When the champion fails too, the client gets the champion's failure."""
    road.feed(request(X_User_Id="u"))
    road.hang_up(road.connect())
    champion = road.connect()
    road.answer(champion, response(b"no", "503 Service Unavailable"))
    assert statuses(road.received()) == [503]
    assert named(road, "model") == {"fault_reset": 1}
    assert road.wanted == []


def test_a_forced_variant_answers_for_itself(road: Road) -> None:
    """Who asks for a variant by name wants to know what that one does."""
    client = road.add_client("198.51.100.7")
    road.feed(request(X_User_Id="u", X_ModelProxy_Force="v2"), to=client)
    road.hang_up(road.connect())
    assert statuses(road.received(client)) == [502]
    assert road.wanted == []


def test_no_fallback_when_it_is_switched_off(road: Road) -> None:
    """An empty list: the client gets the challenger's own answer."""
    road.swap(with_route("fallback: []"))
    road.feed(request(X_User_Id="u"))
    road.answer(road.connect(), response(b"no", "503 Service Unavailable"))
    assert statuses(road.received()) == [503]


def test_other_errors_are_answers(road: Road) -> None:
    """A 500 or a 429 is what the model says, and the client hears it."""
    for status in ("500 Internal Server Error", "429 Too Many Requests"):
        road.feed(request(X_User_Id="u"))
        model = road.connect() if road.wanted else road.upstreams[-1]
        road.answer(model, response(b"no", status))
    assert statuses(road.received()) == [500, 429]


def test_client_that_leaves_while_the_champion_works(road: Road) -> None:
    """The champion's work is cancelled like anybody's."""
    road.feed(request(X_User_Id="u"))
    road.hang_up(road.connect())
    champion = road.connect()
    road.leave()
    assert champion.aborted
    assert named(road, "variant", "code_") == {"code_499": 1}
    assert road.worker.in_flight == 0


def test_stale_connection_of_the_champion(road: Road) -> None:
    """A champion that had closed the idle connection is asked again over a fresh one."""
    road.swap(CHAMPION_ONLY)
    road.feed(request(X_User_Id="u"))
    idle = road.connect()
    road.answer(idle, response(b"0"))
    champion_pool = road.table.models["one"].pool
    road.swap(CONFIG)
    assert road.table.models["one"].pool is champion_pool
    road.feed(request(X_User_Id="u"))
    road.hang_up(road.connect())
    road.hang_up(idle)
    road.answer(road.connect(), response(b"1"))
    assert statuses(road.received()) == [200, 200]


# The whole request


def test_request_timeout_before_the_answer(road: Road) -> None:
    """Whatever is tried, after the route's ``timeout`` the client is told."""
    road.swap(with_route("timeout: 5s"))
    road.feed(request(X_User_Id="u"))
    model = road.connect()
    road.wait(4.9)
    assert road.received() == b""
    road.wait(0.2)
    assert statuses(road.received()) == [504]
    assert model.aborted
    assert named(road, "model") == {"fault_request_timeout": 1}
    assert road.worker.in_flight == 0


def test_request_timeout_in_the_answer(road: Road) -> None:
    """An answer that trickles for ever is cut when its time is over."""
    road.swap(with_route("timeout: 5s"))
    road.feed(request(X_User_Id="u"))
    model = road.connect()
    road.answer(model, chunked(b"a", status="200 OK")[:-5])
    for _ in range(6):
        road.wait(1)
        road.answer(model, b"1\r\nb\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.is_whole, answer.body) == (False, b"abbbb")
    assert model.aborted
    assert road.transport.closed
    assert named(road, "model") == {"fault_request_timeout": 1}


def test_request_timeout_while_waiting_for_the_unit(road: Road) -> None:
    """A body that trickles, and must be whole before there is a variant, ends with 408."""
    road.swap(with_route("timeout: 5s").replace("header:x-user-id", '"json:/user"'))
    data = request(body=b'{"user": "alice"}')
    road.feed(data[:-10])
    for i in range(9, 3, -1):
        road.wait(1)
        road.feed(data[-i - 1 : -i])
    assert statuses(road.received()) == [408]


# Too many


def test_in_flight_is_bounded(road: Road) -> None:
    """One request more than ``limits.in_flight`` is told at once to come again, and copies are shed before that."""
    road.swap(CONFIG.replace("copy: 1KiB", "copy: 1KiB, in_flight: 2"))
    clients = [road.add_client() for _ in range(3)]
    for client in clients:
        road.feed(request(X_User_Id="u"), to=client)
    (answer,) = read_answers(road.received(clients[2]))
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert road.worker.in_flight == 2
    road.leave(clients[0])
    road.feed(request(X_User_Id="u"), to=clients[2])
    assert road.received(clients[2]) == b""


def test_copies_are_shed_first(road: Road) -> None:
    """Beyond three quarters of ``limits.in_flight`` on a shadow gets nothing, and that is counted."""
    config = with_route("shadows: [{model: one}]", config=CHAMPION_ONLY)
    road.swap(config.replace("copy: 1KiB", "copy: 1KiB, in_flight: 4"))
    for _ in range(4):
        road.feed(request(X_User_Id="u"), to=road.add_client())
    assert road.count("shadow", "sent", "wine", "one") == 3
    assert road.count("shadow", "dropped_overload", "wine", "one") == 1
