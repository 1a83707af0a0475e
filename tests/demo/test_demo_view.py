"""The page and the lines say what the snapshot says."""

import io

from rich.console import Console

from proxy.demo.facts import Arm
from proxy.demo.story import RELEASES
from proxy.demo.traffic import VariantScore
from proxy.demo.view import LiveView, PlainView, Snapshot, render
from tests.demo.demo_stage import rollout_document

ARMS = (Arm("v1", "champion", "m1"), Arm("v3", "canary", "m3"))


def build_snapshot() -> Snapshot:
    """In the middle of the second scene."""
    score = VariantScore()
    score.requests, score.right = 50, 47
    score.recent_s.extend([0.002, 0.004, 0.003])
    shadow = {
        "model": "m1",
        "sent": 60,
        "answered": 59,
        "dropped": 1,
        "agree": 45,
        "disagree": 14,
        "by_variant": {"v1": {"agree": 40, "disagree": 0}, "v3": {"agree": 5, "disagree": 5}, "v2": {}},
    }
    return Snapshot(
        addresses={"admin": "http://127.0.0.1:9090"},
        arms=ARMS,
        part="digits",
        scene=1,
        elapsed_s=20.0,
        total_s=60.0,
        rate=160.0,
        requests=60,
        failed=2,
        config_version=2,
        weights={"v1": 80, "v3": 20},
        scores={"v1": score},
        shadows=[shadow],
    )


def console() -> Console:
    """A terminal that is a string."""
    return Console(file=io.StringIO(), width=130, force_terminal=False)


def text_of(terminal: Console) -> str:
    """What was printed."""
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_the_page_shows_every_number() -> None:
    """Counts, weights, latency, accuracy and agreement of the snapshot are on the page."""
    terminal = console()
    terminal.print(render(build_snapshot(), [(1.0, "champion [m1] is ready")]))
    page = text_of(terminal)
    for shown in (
        "127.0.0.1:9090",
        "20 %",
        "160/s",
        "2 failed",
        "3.0",
        "94.0%",
        "50.0%",
        "champion [m1] is ready",
    ):
        assert shown in page


def test_the_page_of_a_rollout_shows_where_it_stands() -> None:
    """Where nobody steers, ladder and evidence take the place of the scenes."""
    terminal, snapshot = console(), build_snapshot()
    snapshot.rollout, snapshot.caption, snapshot.part = (
        rollout_document(RELEASES[2], "ramping"),
        "v5 comes",
        "parcels",
    )
    terminal.print(render(snapshot, []))
    page = text_of(terminal)
    for shown in ("v5 comes", "0 % ▸ 5 % ▸ 25 %", "rolls it back", "160/s"):
        assert shown in page


def test_a_page_before_traffic_has_no_tables() -> None:
    """Before the first request the page shows what is being started and no empty tables."""
    terminal = console()
    terminal.print(render(Snapshot(addresses={}, arms=()), []))
    assert "variant" not in text_of(terminal)


def test_agreement_is_that_of_the_champions_second_answer() -> None:
    """Variants that were not compared yet have no agreement rather than one of zero."""
    assert build_snapshot().agreement() == {"v1": 1.0, "v3": 0.5}
    assert Snapshot(addresses={}, arms=()).agreement() == {}


def test_plain_lines_are_few() -> None:
    """Without a terminal the state is one line every few seconds, events are one line each."""
    terminal, now = console(), [20.0]
    view = PlainView(terminal, lambda: now[0])
    view.update(Snapshot(addresses={}, arms=()))
    view.update(build_snapshot())
    view.update(build_snapshot())
    now[0] = 25.0
    view.update(build_snapshot())
    view.event("the file [was] edited")
    rolling = build_snapshot()
    rolling.rollout, now[0] = rollout_document(RELEASES[0], "rolled_back"), 27.5
    view.update(rolling)
    view.close()
    assert text_of(terminal).splitlines() == [
        " 20.0 s  config v2: 60 requests (v1 50), 2 failed, 160/s",
        " 25.0 s  config v2: 60 requests (v1 50), 2 failed, 160/s",
        " 25.0 s  the file [was] edited",
        " 27.5 s  v3 rolled back at 0 %",
    ]


def test_events_stay_after_the_page_is_gone() -> None:
    """Closing the live view leaves each event as one line, also when it is closed twice."""
    terminal = console()
    view = LiveView(terminal, lambda: 1.0)
    view.event("started [x]")
    view.update(build_snapshot())
    view.close()
    view.close()
    assert text_of(terminal).splitlines().count("  1.0 s  started [x]") == 1
