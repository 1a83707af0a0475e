"""The layout of a request: nothing that every request has stands in a dictionary."""

from collections.abc import Callable

import pytest

from proxy.dataplane import client as client_module
from proxy.dataplane.inflight import InFlight
from tests.dataplane.road import Road, request, response

SPLIT = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: one, role: champion}
"""
ALONE = SPLIT + "    shadows: [{model: two}]\n    compare: {as: none}\n"
COMPARED = SPLIT + "    shadows: [{model: two}]\n"

ASKS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "split": (SPLIT, lambda: request(body=b"abc", X_User_Id="alice")),
    "with its own id": (SPLIT, lambda: request(body=b"abc", X_User_Id="alice", X_Request_Id="r1")),
    "without a body": (SPLIT, lambda: request(X_User_Id="alice")),
    "mirrored": (ALONE, lambda: request(body=b"abc", X_User_Id="alice")),
    "mirrored and compared": (COMPARED, lambda: request(body=b"abc", X_User_Id="alice")),
}


@pytest.mark.parametrize("name", ASKS)
def test_the_usual_request_has_no_dictionary(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Once a head was seen, its next request sets nothing that has no slot."""
    seen: list[InFlight] = []

    class Kept(InFlight):
        __slots__ = ()

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            seen.append(self)

    config, ask = ASKS[name]
    monkeypatch.setattr(client_module, "InFlight", Kept)
    road = Road(monkeypatch, config)
    for _ in range(2):
        road.feed(ask())
        while road.wanted:
            road.connect()
        for transport in road.upstreams:
            road.answer(transport, response(b"1"))
    assert len(seen) == 2
    assert vars(seen[1]) == {}
