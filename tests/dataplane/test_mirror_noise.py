"""The champion asked once more, on the road: what it gets, when it is left out, what the sums say."""

import pytest

from proxy.dataplane.reconcile import reconcile, shipped_counts
from proxy.exchange import Primary
from proxy.retirement import is_quiet
from proxy.tally import SHADOW_FIELDS
from tests.dataplane.road import Road, request, response

CONFIG = """
limits: {in_flight: 8}
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    force_secret: open-sesame
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: three, role: challenger, weight: 0}
    shadows: [{model: two, max_in_flight: 4}]
    compare: {noise: 100}
"""


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch, CONFIG)


def counts(road: Road, kind: str = "noise") -> dict[str, int]:
    return {key[1]: number for key, number in road.counts().items() if key[0] == kind}


@pytest.mark.parametrize(("byte", "ports"), [(0, [9001, 9002, 9001]), (1, [9001, 9001, 9002])])
def test_order(road: Road, monkeypatch: pytest.MonkeyPatch, byte: int, ports: list[int]) -> None:
    """Both copies are the same request, marked, in the order that was drawn; all three answers go to the observer."""
    draws = iter((byte, 0))
    monkeypatch.setattr("proxy.dataplane.order.urandom", lambda size: bytes([next(draws)]))
    road.feed(request(body=b"abc", X_User_Id="alice"))
    ends = [road.connect() for _ in range(3)]
    assert [end.get_extra_info("peername")[1] for end in ends] == ports
    asked, *copies = (end.take() for end in ends)
    assert copies == [asked.replace(b"\r\n\r\n", b"\r\nx-modelproxy-shadow: 1\r\n\r\n")] * 2
    for end in ends:
        road.answer(end, response(b"1"))
    parts = road.worker.shipper.parts()
    (primary,) = (part for part in parts if isinstance(part, Primary))
    assert primary.shadows_sent == 0b11
    assert sorted(part.shadow for part in parts if not isinstance(part, Primary)) == [0, 1]
    assert counts(road) == counts(road, "shadow") == {"eligible": 1, "sent": 1, "answered": 1, "shipped": 1}


def test_a_remembered_head_draws_again(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose head was seen before has an order of its own, not that of the first."""
    draws = iter((0, 0, 1, 0))
    monkeypatch.setattr("proxy.dataplane.order.urandom", lambda size: bytes([next(draws)]))
    road.feed(request(X_User_Id="alice"))
    for end in (ends := [road.connect() for _ in range(3)]):
        road.answer(end, response(b"1"))
        end.take()
    assert len(road.table.choices) == 1
    road.feed(request(X_User_Id="alice"))
    for end in ends:
        road.answer(end, response(b"1"))
    shipped = [part.shadow for part in road.worker.shipper.parts()[3:] if not isinstance(part, Primary)]
    assert sorted(shipped) == [0, 1]
    with pytest.raises(StopIteration):
        next(draws)


def test_other_variants_are_not_asked_twice(road: Road) -> None:
    """What a challenger answers goes to the candidates alone: the champion would be no second answer of it."""
    forced = request(X_User_Id="alice", X_ModelProxy_Force="v2", X_ModelProxy_Force_Secret="open-sesame")
    road.feed(forced)
    assert len(road.wanted) == 2
    assert counts(road) == {}
    assert counts(road, "shadow")["sent"] == 1


def test_who_knows_the_key_is_asked_once(road: Road) -> None:
    """A second call with the client's idempotency key would be answered with the first answer: it is not made."""
    road.feed(request(X_User_Id="alice", Idempotency_Key="7"))
    assert len(road.wanted) == 2
    assert counts(road) == {}
    assert counts(road, "shadow")["sent"] == 1
    road.feed(request(X_User_Id="alice"), to=road.add_client())
    assert counts(road)["sent"] == 1


def test_it_is_shed_first(road: Road) -> None:
    """At half of what a worker may have under way it is dropped, where other copies are still sent."""
    road.feed(request(X_User_Id="alice"))
    for _ in range(3):
        road.connect()
    for waiting in (4, 5, 6, 7):
        road.worker.in_flight = waiting - 1
        client = road.add_client()
        road.feed(request(X_User_Id="alice"), to=client)
    assert counts(road) == {"eligible": 5, "sent": 2, "dropped_overload": 3}
    assert counts(road, "shadow") == {"eligible": 5, "sent": 4, "dropped_overload": 1}


def test_its_budget_is_half(road: Road) -> None:
    """It has half as many places as the shadow."""
    for i in range(5):
        road.feed(request(X_User_Id=f"user-{i}"), to=road.add_client())
        road.worker.in_flight = 0
    assert counts(road) == {"eligible": 5, "sent": 2, "dropped_in_flight": 3}
    assert counts(road, "shadow") == {"eligible": 5, "sent": 4, "dropped_in_flight": 1}


def test_sums_after_an_interruption(road: Road) -> None:
    """A dead worker's copies to the champion are settled as those to shadows are, and told to the observer."""
    section = road.table.layout.section("noise", "wine", "one")
    for field, number in {"eligible": 9, "sent": 8, "answered": 5, "shipped": 4}.items():
        road.table.slots[section.slot(field)] = number
    workers = road.counts()
    assert not is_quiet(workers, {("noise_comparison", "agree", "wine", "v1", "one"): 4})
    reconcile(road.table)
    found = counts(road)
    assert (found["dropped_draining"], found["failed"], found["comparison_dropped"]) == (1, 3, 1)
    assert set(found) <= set(SHADOW_FIELDS)
    assert not is_quiet(road.counts(), {("noise_comparison", "agree", "wine", "v1", "one"): 3})
    assert is_quiet(road.counts(), {("noise_comparison", "agree", "wine", "v1", "one"): 4})
    assert shipped_counts([road.table])["1\nnoise\nwine\none"] == 4
