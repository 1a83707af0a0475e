"""All sinks together: each gets every record, and none touches another."""

import threading

from proxy.sinks.sink import NOBODYS, Sink
from proxy.sinks.sinks import Sinks
from tests.sinks.test_sink import WAIT_S, Place, Report

TOKEN = (0, 1, 2)


def built(*queues: int) -> tuple[Sinks, list[Place], list[Sink], Report]:
    report, places = Report(), [Place() for _ in queues]
    sinks = [
        Sink(f"s{i}", places[i], queue, report.settle if i == 0 else None) for i, queue in enumerate(queues)
    ]
    return Sinks(sinks, {sink.name: "jsonl" for sink in sinks}), places, sinks, report


def test_each_gets_every_record() -> None:
    """Every sink writes every record; the first reports."""
    sinks, places, _, report = built(1000, 1000, 1000)
    assert sinks.submit(b"{}\n", TOKEN)
    assert sinks.close(WAIT_S) == []
    assert [place.lines for place in places] == [[b"{}\n"]] * 3
    assert report.written == [TOKEN]
    assert [each["counts"]["written"] for each in sinks.statistics()] == [1, 1, 1]


def test_a_dead_one_touches_no_other() -> None:
    """While one hangs and one fails, the others write on; what they lose is counted for them alone."""
    sinks, places, _, report = built(1 << 20, 20, 1 << 20)
    places[1].hangs.clear()
    places[2].fails = True
    for _ in range(100):
        assert sinks.submit(b"0123456789", TOKEN)
    report.wait(lambda: len(report.written) == 100)
    assert sinks.close(0.3) == ["s1"]
    counts = {each["name"]: each["counts"] for each in sinks.statistics()}
    assert counts["s0"] == {"taken": 100, "written": 100, "dropped": 0, "failed": 0}
    assert counts["s1"] == {"taken": 2, "written": 0, "dropped": 98, "failed": 0}
    assert counts["s2"] == {"taken": 100, "written": 0, "dropped": 0, "failed": 100}
    places[1].hangs.set()


def test_room_of_any_is_room() -> None:
    """A record is built while any sink has room; what the first cannot take is refused, and the others have it."""
    sinks, places, (first, _), _ = built(10, 1000)
    places[0].hangs.clear()
    assert sinks.submit(b"0123456789", TOKEN)
    assert sinks.has_room()
    assert not first.has_room()
    assert not sinks.submit(b"0123456789", TOKEN)
    places[0].hangs.set()
    assert sinks.close(WAIT_S) == []
    assert len(places[1].lines) == 2
    assert not sinks.has_room()
    sinks.drop()
    assert [each["counts"]["dropped"] for each in sinks.statistics()] == [2, 1]


def test_they_are_closed_at_the_same_time() -> None:
    """Closing waits once for all, not for one after the other."""
    sinks, places, _, _ = built(1000, 1000, 1000)
    gate = threading.Barrier(3)
    for place in places:
        place.last = gate
    sinks.submit(b"{}\n", TOKEN)
    assert sinks.close(WAIT_S) == []


def test_statistics() -> None:
    """What is shown of each: name, kind, counts, queue, and what is wrong."""
    sinks, places, _, report = built(1000)
    places[0].fails = True
    sinks.submit(b"{}\n", TOKEN)
    report.wait(lambda: bool(report.failed))
    (shown,) = sinks.statistics()
    assert shown == {
        "name": "s0",
        "kind": "jsonl",
        "counts": {"taken": 1, "written": 0, "dropped": 0, "failed": 1},
        "queue_bytes": 0,
        "failing": True,
        "problem": "No space left",
    }
    assert sinks.is_failing
    assert sinks.queued_bytes == 0
    sinks.close(WAIT_S)


def test_a_line_of_another_kind() -> None:
    """It goes to all of them and each counts it, and nobody hears of it as a record."""
    sinks, places, _, report = built(1000, 1000, 1000)
    sinks.submit_line(b"{}\n")
    assert sinks.close(WAIT_S) == []
    assert [place.lines for place in places] == [[b"{}\n"]] * 3
    assert [each["counts"]["written"] for each in sinks.statistics()] == [1, 1, 1]
    assert all(token is NOBODYS for token in report.written)
