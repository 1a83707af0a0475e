"""A route with a shadow on a road of fakes, and its counts."""

from proxy.tally import SHADOW_FIELDS
from tests.dataplane.road import Road
from tests.fakes import FakeTransport

__all__ = ["CONFIG", "both", "counts"]

CONFIG = """
limits: {copy: 1KiB}
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002/v9/other"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: one, role: champion}
    shadows:
      - {model: two, timeout: 5s, max_in_flight: 2, max_bytes: 1KiB}
"""


def counts(road: Road, model: str = "two") -> dict[str, int]:
    """Return the counts of one shadow, after checking that they add up as far as they are settled."""
    found = {k[1]: n for k, n in road.counts().items() if k[0] == "shadow" and k[-1] == model}
    at = {field: found.get(field, 0) for field in SHADOW_FIELDS}
    assert at["eligible"] == at["sent"] + sum(n for field, n in at.items() if field.startswith("dropped_"))
    pool = road.table.routes[0].shadows[0 if model == "two" else 1].pool
    assert at["sent"] == at["answered"] + at["failed"] + pool.in_flight - pool.held
    assert at["answered"] == at["shipped"] + at["not_compared"] + at["comparison_dropped"]
    return found


def both(road: Road) -> tuple[FakeTransport, FakeTransport]:
    """Grant the connections that a first request asks for: to the model, and to the shadow."""
    model, shadow = road.connect(), road.connect()
    assert [t.get_extra_info("peername")[1] for t in (model, shadow)] == [9001, 9002]
    return model, shadow
