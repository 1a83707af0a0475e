"""The memo of choices: a head seen again gets what it got, and nothing that something else decides is remembered."""

import pytest

from proxy.exchange import Primary
from proxy.routing.choose import CHOICES_KEPT
from proxy.routing.table import Table
from tests.dataplane.road import CONFIG, Road, request, response, told
from tests.fakes import FakeTransport

SPLIT = CONFIG + "      - {name: v3, model: three, role: canary, weight: WEIGHT}\n    log: {percent: 100}\n"


def config(weight: int, unit: str = "[header:x-user-id]") -> str:
    return SPLIT.replace("WEIGHT", str(weight)).replace("[header:x-user-id]", unit)


class Models:
    """Answers every request at whatever model it reached, and tells which variant answered."""

    def __init__(self, road: Road) -> None:
        self.road = road

    def _waiting(self) -> FakeTransport:
        if self.road.wanted:
            return self.road.connect()
        return next(t for t in self.road.upstreams if getattr(t.protocol, "sink", None) is not None)

    def ask(self, message: bytes) -> Primary:
        self.road.feed(message)
        self.road.answer(self._waiting(), response())
        part = self.road.worker.shipper.parts()[-1]
        assert isinstance(part, Primary)
        return part


def variant(table: Table, part: Primary) -> str:
    return table.routes[part.route].variants[part.variant].name


def test_a_head_seen_again_gets_the_same_and_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request differs from the first in its ids only."""
    road = Road(monkeypatch, config(50))
    models = Models(road)
    first, second = (models.ask(request(body=b"{}", X_User_Id="alice")) for _ in range(2))
    assert len(road.table.choices) == 1
    for field in (
        "route",
        "variant",
        "unit",
        "flags",
        "response_body",
    ):
        assert getattr(first, field) == getattr(second, field)
    for field in ("unit_source", "bucket", "request_body"):
        assert getattr(told(first), field) == getattr(told(second), field)
    assert (first.request_id, second.request_id) == (b"id-1", b"id-2")
    assert told(first).request_head.replace(b"id-1", b"id-2") == told(second).request_head
    name = variant(road.table, first)
    assert road.count("variant", "started", "wine", name, {"v1": "one", "v3": "three"}[name]) == 2
    assert road.count("unit", "header:x-user-id", "wine") == 2


def test_another_table_chooses_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload moves a remembered head like any other."""
    road = Road(monkeypatch, config(0))
    models = Models(road)
    message = request(X_User_Id="alice")
    assert [variant(road.table, models.ask(message)) for _ in range(2)] == ["v1", "v1"]
    road.swap(config(100))
    assert [variant(road.table, models.ask(message)) for _ in range(2)] == ["v3", "v3"]


def test_what_the_body_decides_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal heads with another unit in the body are other units, also when a header would have been next."""
    road = Road(monkeypatch, config(50, '["json:/u", header:x-user-id]'))
    models = Models(road)
    bodies = [b'{"u":"a"}', b'{"u":"b"}', b'{"v":"c"}', b'{"u":"d"}']
    units = [models.ask(request(body=body, X_User_Id="alice")).unit for body in bodies]
    assert units == [b"a", b"b", b"alice", b"d"]
    assert not road.table.choices


@pytest.mark.parametrize("unit", ["[client_ip]", "[header:x-other]"])
def test_what_address_or_request_id_decide_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    """A unit from the connection, or none at all, is found anew each time."""
    road = Road(monkeypatch, config(50, unit))
    models = Models(road)
    for _ in range(2):
        models.ask(request(X_User_Id="alice"))
    assert not road.table.choices


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More heads than are kept make room by forgetting all."""
    road = Road(monkeypatch, CONFIG)
    road.feed(request(X_User_Id="first"))
    model = road.connect()
    road.answer(model, response())
    for number in range(CHOICES_KEPT + 10):
        road.feed(request(X_User_Id=f"user-{number}"))
        road.answer(model, response())
        assert len(road.table.choices) <= CHOICES_KEPT
    assert road.count("variant", "code_200", "wine", "v1", "one") == CHOICES_KEPT + 11
