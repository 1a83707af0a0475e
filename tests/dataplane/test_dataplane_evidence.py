"""Evidence: every ending counts exactly once, as what it was, for the variant that the coin chose."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.dataplane.endings import send_off
from proxy.dataplane.evidence import UNIT_COIN, Evidence, Experiments, count
from proxy.evidence.blocks import epochs
from proxy.evidence.counts import read
from proxy.evidence.layout import (
    BUCKETS,
    EVIDENCE_FIELDS,
    FIELDS,
    FIRST_LATENCY,
    LATENCY,
    block_size,
    bucket_of,
)
from proxy.evidence.units import units_path
from proxy.model import Fault
from proxy.stats import histogram
from tests.dataplane.road import build_table, chunked, request, response, statuses
from tests.dataplane.trial import CONFIG, FALLING, GOOD, PATH, RETRIED, V1, V2, Trial


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trial:
    """Half the units are the canary's; nothing is tried again."""
    return Trial(monkeypatch, tmp_path)


def event(name: str) -> dict[str, int]:
    """Return the counts of a first completion that was such an event."""
    singular = name.removesuffix("s") if name.endswith("errors") else name
    return {"requests": 1, "units": 1, f"{singular}_requests": 1, f"first_{name}": 1, name: 1}


def answered(status: str) -> Callable[[Trial], None]:
    def end(trial: Trial) -> None:
        trial.answer(trial.ask(), response(b"x", status))

    return end


def refused(trial: Trial) -> None:
    trial.feed(request(X_User_Id=trial.user()))
    trial.refuse_connect()


def hung_up(trial: Trial) -> None:
    trial.hang_up(trial.ask(), ConnectionResetError())


def timed_out(trial: Trial) -> None:
    trial.ask()
    trial.wait(6)


def out_of_time(trial: Trial) -> None:
    model = trial.ask()
    trial.answer(model, chunked(b"1", status="200 OK")[:-5])
    for _ in range(20):
        trial.answer(model, b"1\r\na\r\n")
        trial.wait(1.1)


def broken_off(trial: Trial) -> None:
    model = trial.ask()
    trial.answer(model, chunked(b"1", status="200 OK")[:-5])
    trial.hang_up(model, ConnectionResetError())


def streamed(trial: Trial) -> None:
    trial.answer(trial.ask(), chunked(b"1", b"2", status="200 OK"))


def left_unanswered(trial: Trial) -> None:
    trial.ask()
    trial.leave()


def left_in_the_answer(trial: Trial) -> None:
    trial.answer(trial.ask(), chunked(b"1", status="200 OK")[:-5])
    trial.leave()


def body_too_large(trial: Trial) -> None:
    trial.feed(chunked(b"x" * 600, X_User_Id=trial.user())[:-5])
    trial.model()
    trial.feed(b"258\r\n" + b"x" * 600 + b"\r\n0\r\n\r\n")


def body_is_no_http(trial: Trial) -> None:
    trial.feed(chunked(b"x", X_User_Id=trial.user())[:-5] + b"zzz\r\n")


def body_never_comes(trial: Trial) -> None:
    trial.feed(request(body=b"abc", X_User_Id=trial.user())[:-1])
    trial.model()
    trial.wait(100)


def drained(trial: Trial) -> None:
    trial.ask()
    trial.worker.draining = True
    send_off(trial.client)


def drained_in_the_answer(trial: Trial) -> None:
    trial.answer(trial.ask(), chunked(b"1", status="200 OK")[:-5])
    send_off(trial.client)


def forced(trial: Trial) -> None:
    trial.answer(trial.ask(trial.user(V1), X_Modelproxy_Force="v2"), response())
    assert b"v2" in trial.received()


def too_large_at_once(trial: Trial) -> None:
    trial.feed(request(body=b"x" * 1025, X_User_Id=trial.user()))


def of_nobody(trial: Trial) -> None:
    trial.feed(request("/nowhere", X_User_Id=trial.user()))


ENDINGS: dict[str, tuple[Callable[[Trial], None], int, dict[str, int]]] = {
    "answered": (answered("200 OK"), 200, GOOD),
    "answered in pieces": (streamed, 200, GOOD),
    "redirected": (answered("302 Found"), 302, GOOD),
    "400": (answered("400 Bad Request"), 400, event("client_errors")),
    "413 of the model": (answered("413 Content Too Large"), 413, event("client_errors")),
    "499 of the model": (answered("499 Odd"), 499, event("client_errors")),
    "500": (answered("500 Internal Server Error"), 500, event("errors")),
    "503": (answered("503 Service Unavailable"), 503, event("errors")),
    "no connection": (refused, 502, event("errors")),
    "reset": (hung_up, 502, event("errors")),
    "no answer in time": (timed_out, 504, event("errors")),
    "answer broken off": (broken_off, 200, event("errors")),
    "answer too slow": (out_of_time, 200, event("errors")),
    "client left": (left_unanswered, 0, event("abandoned")),
    "client left in the answer": (left_in_the_answer, 200, GOOD),
    "body too large on the way": (body_too_large, 413, {}),
    "body is no HTTP": (body_is_no_http, 400, {}),
    "body never comes": (body_never_comes, 408, {}),
    "drained": (drained, 503, {}),
    "drained in the answer": (drained_in_the_answer, 200, {}),
    "forced": (forced, 0, {}),
    "too large at once": (too_large_at_once, 413, {}),
    "no route": (of_nobody, 404, {}),
}


@pytest.mark.parametrize(("end", "status", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_every_ending(
    trial: Trial, end: Callable[[Trial], None], status: int, expected: dict[str, int]
) -> None:
    """Each end of a request is counted once, as what it was, and for no other variant."""
    end(trial)
    received = trial.received()
    assert received.startswith(b"HTTP/1.1 %d " % status) if status else not received
    assert trial.worker.in_flight == 0
    assert trial.evidence(V2) == expected
    assert trial.evidence(V1) == {}


def test_what_a_retry_made_good_was_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client got its answer from the variant that it was assigned."""
    trial = Trial(monkeypatch, tmp_path, RETRIED)
    trial.answer(trial.ask(), response(b"x", "503 Service Unavailable"))
    trial.wait(0.1)
    trial.answer(trial.model(), response(b"x"))
    assert statuses(trial.received()) == [200]
    assert trial.evidence() == GOOD


def test_what_the_champion_made_good_was_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fallback is an error of the assigned variant, and no evidence about the one that answered."""
    trial = Trial(monkeypatch, tmp_path, FALLING)
    trial.feed(request(X_User_Id=trial.user()))
    trial.refuse_connect()
    trial.answer(trial.model(), response(b"x"))
    assert b"x-modelproxy-variant: v1" in trial.received()
    assert trial.evidence(V2) == event("errors")
    assert trial.evidence(V1) == {}


def test_a_tunnel_counts_when_the_model_consents(trial: Trial) -> None:
    """The time to the consent is its duration; how long it is open, and how it ends, is nobody's fault."""
    head = request(
        "/v2/models/wine/chat",
        method="GET",
        Connection="Upgrade",
        Upgrade="websocket",
        Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        X_User_Id=trial.user(),
    )
    trial.feed(head)
    model = trial.model()
    trial.wait(0.5)
    trial.answer(
        model,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    assert trial.evidence() == GOOD
    assert read(trial.run_dir, trial.experiment.epoch, 2)[
        V2, EVIDENCE_FIELDS.index(f"latency_{bucket_of(500_000_000)}")
    ]
    trial.wait(1000)
    trial.hang_up(model, ConnectionResetError())
    assert trial.worker.in_flight == 0
    assert trial.evidence() == GOOD


def test_a_route_that_tries_nothing_counts_nothing(trial: Trial) -> None:
    """Where one variant gets everything there is no block."""
    trial.feed(request("/alone"))
    trial.answer(trial.model(), response())
    assert statuses(trial.received()) == [200]
    assert trial.table.routes[1].evidence is None
    assert epochs(trial.run_dir) == {trial.experiment.epoch}


# Coins


def test_a_unit_is_new_once(trial: Trial) -> None:
    """Its first completion and its first event of each kind count apart from the rest."""
    outcomes = ["200 OK", "500 No", "404 No", "500 No", "200 OK"]
    for status in outcomes:
        trial.answer(trial.ask(), response(b"", status))
    assert trial.evidence() == {
        "requests": 5,
        "units": 1,
        "error_requests": 2,
        "client_error_requests": 1,
        "errors": 1,
        "client_errors": 1,
    }


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "in pieces"])
def test_who_has_no_unit(trial: Trial, *, cut: bool) -> None:
    """A request id of ours is a coin of its own; one of the client's may come again, and is one coin then."""

    def ask(**headers: str) -> None:
        data = request(PATH, b"", "POST", **headers)
        trial.feed(*([data[:30], data[30:]] if cut else [data]))
        trial.answer(trial.model(), response(b"", "500 No"))

    for _ in range(4):
        ask()
    counts = Counter(trial.evidence(V1)) + Counter(trial.evidence(V2))
    assert (counts["requests"], counts["units"], counts["errors"], counts["first_errors"]) == (4, 4, 4, 4)
    assert not any(units_path(trial.run_dir, trial.experiment.rollout).read_bytes()), "nobody to remember"
    for _ in range(4):
        ask(X_Request_Id="again")
    counts = Counter(trial.evidence(V1)) + Counter(trial.evidence(V2))
    assert (counts["requests"], counts["units"], counts["errors"], counts["error_requests"]) == (8, 5, 5, 8)


def test_the_champion_by_default_is_no_coin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who goes to the champion for want of a unit was not drawn; who has one still is."""
    trial = Trial(
        monkeypatch,
        tmp_path,
        CONFIG.replace("    timeout: 20s\n", "    missing_unit: champion\n    timeout: 20s\n"),
    )
    trial.feed(request())
    trial.answer(trial.model(), response())
    assert trial.evidence(V1) == {}
    trial.answer(trial.ask(variant=V1), response())
    assert trial.evidence(V1) == GOOD


def test_workers_know_of_each_others_units(trial: Trial) -> None:
    """The map is one; the counts are each worker's own, and add up."""
    trial.answer(trial.ask(), response())
    other = Experiments(trial.run_dir, 1)
    table = build_table(CONFIG)
    other.attach(table)
    trial.table.routes[0].evidence = table.routes[0].evidence
    trial.answer(trial.ask(), response())
    trial.answer(trial.ask(trial.user(number=1)), response())
    assert trial.evidence() == {"requests": 3, "units": 2}
    assert len(list(trial.run_dir.glob("evidence-*"))) == 2


def test_a_killed_worker_leaves_what_it_counted(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its successor goes on in the same files, and knows who was there; what was under way is nothing."""
    trial.answer(trial.ask(), response())
    trial.ask(trial.user(number=1))
    successor = Trial(monkeypatch, trial.run_dir)
    successor.answer(successor.ask(), response())
    assert successor.evidence() == {"requests": 2, "units": 1}


# Against a model that is easy to believe


STATUSES = {"200 OK": "", "404 No": "client_errors", "500 No": "errors", "left": "abandoned"}
REQUESTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(sorted(STATUSES)), st.integers(0, 3)), max_size=25
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS)
def test_counts_are_those_of_a_ledger(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[tuple[int, str, int]],
) -> None:
    """Whatever who gets in whatever order, the counts are what a list of all requests says."""
    with monkeypatch.context() as patch:
        trial = Trial(patch, tmp_path_factory.mktemp("run"))
        variants = [
            trial.table.routes[0].assign(trial.table.routes[0].bucket(b"u%d" % u)).index for u in range(4)
        ]
        expected: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        seen: set[tuple[int, str]] = set()
        for user, outcome, tenths in requests:
            client = trial.add_client()
            trial.feed(request(X_User_Id=f"u{user}"), to=client)
            model = trial.model()
            trial.loop.advance(tenths / 10)
            trial.leave(client) if outcome == "left" else trial.answer(model, response(b"", outcome))
            note(expected[variants[user]], seen, user, STATUSES[outcome], bucket_of(tenths * 100_000_000))
        counts = read(trial.run_dir, trial.experiment.epoch, 2)
    for variant in (V1, V2):
        row = {name: int(n) for name, n in zip(EVIDENCE_FIELDS, counts[variant], strict=True) if n}
        assert row == dict(expected[variant])
        assert row.get("units", 0) <= row.get("requests", 0)


def note(ledger: Counter[str], seen: set[tuple[int, str]], user: int, outcome: str, bucket: int) -> None:
    """Write one completion down, in the words of the layout."""
    is_first = (user, "") not in seen
    ledger["requests"] += 1
    ledger[f"latency_{bucket}"] += 1
    if is_first:
        ledger["units"] += 1
        ledger[f"first_latency_{bucket}"] += 1
    if outcome:
        ledger[f"{outcome.removesuffix('s') if outcome.endswith('errors') else outcome}_requests"] += 1
        ledger[f"first_{outcome}"] += is_first
        ledger[outcome] += (user, outcome) not in seen
        if not is_first:
            del_zero(ledger, f"first_{outcome}")
        if (user, outcome) in seen:
            del_zero(ledger, outcome)
    seen |= {(user, ""), (user, outcome)}


def del_zero(ledger: Counter[str], name: str) -> None:
    """Keep a count only if it counts something."""
    if not ledger[name]:
        del ledger[name]


@given(st.integers(-10, 10**13))
def test_durations_are_counted_in_their_bucket(duration_ns: int) -> None:
    """The formula that is written out in the hot path is the one of the layout."""
    slots, cells = memoryview(bytearray(8 * block_size(1))).cast("Q"), memoryview(bytearray(32)).cast("H")
    flight = SimpleNamespace(
        coin=UNIT_COIN, bucket=5, status=200, fault=Fault.NONE, variant=SimpleNamespace(slot_evidence=0)
    )
    count(cast("Any", flight), Evidence(slots, cells, 1, 0), duration_ns)
    expected = {LATENCY + bucket_of(duration_ns), FIRST_LATENCY + bucket_of(duration_ns)}
    assert {slot for slot, number in enumerate(slots[:FIELDS]) if number} == expected


@given(st.integers(-10, 10**13))
def test_the_statistics_see_the_same_buckets(duration_ns: int) -> None:
    """What a worker counts in a bucket is what the statistics take it for."""
    assert bucket_of(duration_ns) == histogram.bucket_of(duration_ns)
    assert histogram.BUCKETS == BUCKETS
