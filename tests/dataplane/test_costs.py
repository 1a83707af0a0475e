"""No head within the limits keeps a worker busy: whoever sends one slows everybody on that worker."""

import time
from collections.abc import Callable

import pytest

from tests.dataplane.road import CONFIG, Road, request

HOSTILE = CONFIG.replace(
    "unit: [header:x-user-id]", "unit: [header:x-user-id, cookie:uid, query:u, client_ip]"
)
HOSTILE = (
    f"trusted: [10.0.0.0/8, 192.0.2.0/24]\ntracing: {{otlp: 'http://127.0.0.1:1', percent: 100}}\n{HOSTILE}"
)
"""Everything that looks into a head is on."""

SIZE = 60_000
TIMES = 10
MOST = 10
"""What ten of them may take, in times of what it takes to cut a list as long as they are into its members: the worst
takes five, and took thirty before that was bounded. By the processor's time: a busy machine is no matter."""

TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
PATH = "/v2/models/wine/infer"

HEADS: dict[str, bytes] = {
    "connection options": request(Connection="a," * (SIZE // 2)),
    "different connection options": request(Connection=",".join(map(str, range(SIZE // 6)))),
    "cookies": request(Cookie=";" * SIZE),
    "cookies with values": request(Cookie="a=b;" * (SIZE // 4)),
    "parameters": request(f"{PATH}?" + "&" * SIZE),
    "encoded parameters": request(f"{PATH}?" + "%61=1&" * (SIZE // 6)),
    "trusted hops": request(X_Forwarded_For="10.0.0.1," * (SIZE // 9)),
    "empty hops": request(X_Forwarded_For="," * SIZE),
    "trace states": request(traceparent=TRACE, tracestate="a=b," * (SIZE // 4)),
    "empty trace states": request(traceparent=TRACE, tracestate="," * SIZE),
    "dot segments": request("/v2/models/wine/" + "../a/" * (SIZE // 5)),
    "encoded dot segments": request("/v2/models/wine/" + "a/%2e%2e/" * (SIZE // 9)),
    "transfer codings that are taken": request(TE="a," * (SIZE // 2)),
    "protocols": request(method="GET", Connection="upgrade", Upgrade="a," * (SIZE // 2)),
    "many lines": request().replace(
        b"\r\n\r\n", b"".join(b"\r\nx%d: %b" % (i, b"y" * 400) for i in range(120)) + b"\r\n\r\n"
    ),
    "empty lines before": b"\r\n" * (SIZE // 2) + request(),
}


def processor_s(act: Callable[[], object]) -> float:
    """Return the processor's time for ``act``."""
    began = time.process_time()
    act()
    return time.process_time() - began


def cut() -> None:
    """Do what reading any list takes, ten times."""
    for _ in range(TIMES):
        assert len([member.strip() for member in (b"a," * (SIZE // 2)).split(b",")]) > SIZE // 2


@pytest.mark.parametrize("name", HEADS)
def test_no_head_costs_much(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The processor's time for ten hostile heads is bounded, whatever they are full of."""
    tries = []
    for _ in range(3):
        roads = [Road(monkeypatch, HOSTILE) for _ in range(TIMES)]
        spent = processor_s(lambda roads=roads: [road.feed(HEADS[name]) for road in roads])  # type: ignore[misc]
        sent_on = sum(len(road.wanted) for road in roads)
        refused = sum(road.received().startswith(b"HTTP/1.1 4") for road in roads)
        assert (sent_on, refused) in ((TIMES, 0), (0, TIMES))
        tries.append(spent / processor_s(cut))
        if tries[-1] < MOST:
            return
    pytest.fail(f"took {min(tries):.1f} times as long as cutting a list, at most {MOST} expected")
