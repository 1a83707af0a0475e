"""The verdict: honest books pass, and each kind of lie is found by the check that is there for it."""

from collections.abc import Callable

import orjson
import pytest

from tests.soak.books import Attempt, Books, Down, End, Entry, Kill, read_attempts
from tests.soak.excuses import Judge, is_right
from tests.soak.growth import Growth
from tests.soak.mix import Kind, Order, predicted_label
from tests.soak.records import Records, read_records
from tests.soak.verdict import (
    Check,
    Counts,
    bounds_of,
    check_clients,
    check_counts,
    check_faults,
    check_growth,
    check_models,
    check_records,
    check_shadows,
)

MS = 1_000_000
Samples = dict[tuple[str, ...], float]


def entry(number: int, kind: Kind = Kind.SMALL, end: End = End.WHOLE, **more: object) -> Entry:
    """Return a request on its own connection: port 1000 + number, from number to number + 1 seconds."""
    wanted = Order(number, kind, "user-1", 0, 100, 0.0)
    began = number * 1000 * MS
    fields: dict[str, object] = {"status": wanted.status} if end in (End.WHOLE, End.CUT) else {}
    if end is End.WHOLE and wanted.status == 200:
        fields |= {"variant": "v1", "attempt": f"v1.1.{number}"}
    made = Entry(wanted, 1000 + number, began, began, began + 1000 * MS, end)
    for name, value in (fields | more).items():
        setattr(made, name, value)
    return made


def attempt(number: int, model: str = "v1", outcome: str = "A", **more: object) -> Attempt:
    """Return what a model did for request ``number``, from 100 to 200 ms after its beginning."""
    began = number * 1000 * MS + 100 * MS
    identity = Order(number, Kind.SMALL, "", 0, 0, 0.0).identity
    made = Attempt(
        f"{model}.1.{number}", identity, model == "shade", "label", began, outcome, began + 100 * MS, 200
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def world() -> tuple[Books, Samples]:
    """Return books of a run in which everything happened once, and the metrics that belong to them."""
    books = Books()
    books.entries = [
        entry(1),
        entry(2),
        entry(3, Kind.LEAVE_WAIT, End.LEFT, ended_ns=3120 * MS),
        entry(4, end=End.BROKEN),
        entry(5, end=End.WHOLE, status=502, variant="", attempt=""),
        entry(6, Kind.STALL),
        entry(7, Kind.CUT, End.CUT),
        entry(8, Kind.UNROUTED),
    ]
    notes = [
        attempt(1),
        attempt(2),
        attempt(3, outcome="G"),
        attempt(4, outcome="G", ended_ns=4500 * MS),
        attempt(6, "flaky", "G"),
        attempt(7, "flaky", "F"),
        attempt(1, "shade"),
        attempt(2, "shade", "F"),
        attempt(4, "shade", "G"),
    ]
    books.attempts = {note.name: note for note in notes}
    books.kills = [Kill(0, 4400 * MS, frozenset({1004}), {"lost": 1, "failed:shade": 1})]
    books.downs = [Down("v1", 5200 * MS, 5700 * MS)]
    books.reloads, books.refused = 3, 1
    return books, samples()


def samples() -> Samples:
    """Return the metrics of :func:`world`."""
    made: Samples = {
        ("modelproxy_config_reloads_total",): 4,
        ("modelproxy_config_reloads_refused_total",): 1,
        ("modelproxy_connections_opened_total",): 8,
        ("modelproxy_connections",): 0,
        ("modelproxy_in_flight_requests", "route=wine", "variant=v1"): 0,
        ("modelproxy_upstream_faults_total", "kind=lost", "model=v1"): 1,
        ("modelproxy_upstream_faults_total", "kind=timeout", "model=flaky"): 1,
        ("modelproxy_upstream_faults_total", "kind=reset", "model=flaky"): 1,
        ("modelproxy_comparisons_total", "model=shade", "result=agree", "route=wine"): 1,
    }
    for code, route, number in ((200, "wine", 2), (499, "wine", 1), (502, "wine", 1), (504, "flaky", 1)):
        made["modelproxy_requests_total", f"code={code}", f"route={route}"] = number
    made["modelproxy_requests_total", "code=200", "route=flaky"] = 1
    made["modelproxy_requests_total", "code=404", "route="] = 1
    outcomes = {"eligible": 4, "sent": 3, "dropped": 1, "answered": 1, "failed": 2, "compared": 1}
    for word, number in outcomes.items():
        made["modelproxy_shadow_requests_total", "model=shade", f"outcome={word}"] = number
    for word, number in {"sampled": 4, "written": 3, "dropped": 1}.items():
        made["modelproxy_payload_records_total", f"outcome={word}", "route=wine"] = number
    return made


def records(books: Books) -> Records:
    """Return what the payload log of :func:`world` says."""
    return read_records([record(1), record(2), record(5, status=502)], by_identity(books))


def by_identity(books: Books) -> dict[str, Entry]:
    return {each.order.identity: each for each in books.entries}


def record(
    number: int, *, status: int = 200, variant: str = "v1", result: str = "", unit: str = "u"
) -> bytes:
    """Return a line of the payload log."""
    identity = Order(number, Kind.SMALL, "", 0, 0, 0.0).identity
    same = predicted_label("shade", identity) == predicted_label("v1", identity)
    comparison = {"result": result or ("agree" if same else "disagree"), "distance": 0.0, "reason": None}
    return orjson.dumps(
        {
            "request_id": identity,
            "route": "wine",
            "table_version": 1,
            "unit": unit,
            "probability": 0.5,
            "variant": variant,
            "served_by": variant,
            "response": {"status": status},
            "shadows": [{"model": "shade", "status": 200, "comparison": comparison}],
        }
    )


def verdict(books: Books, metrics: Samples, log: Records | None = None) -> dict[str, Check]:
    """Return every check by name."""
    attempts = books.by_identity()
    judge, counts = Judge(books.kills, books.downs, attempts), Counts(metrics)
    checks = [
        *check_clients(books.entries, judge),
        *check_counts(books, bounds_of(books.entries, judge, attempts), counts),
        *check_faults(books.entries, judge, counts),
        *check_models(books, counts),
        *check_shadows(books, counts),
        *check_records(books, counts, log or records(books)),
    ]
    return {check.name.partition(" (")[0]: check for check in checks}


def violated(books: Books, metrics: Samples, log: Records | None = None) -> set[str]:
    """Return the names of the checks that do not hold."""
    return {name for name, check in verdict(books, metrics, log).items() if not check.holds}


def test_honest_books_pass() -> None:
    """Books in which everything is as it must be violate nothing."""
    assert violated(*world()) == set()


def test_a_killed_worker_loosens_only_what_it_held() -> None:
    """Every count is exact: the one request that was lost is known to have been with its model."""
    checks = verdict(*world())
    assert checks["requests counted with 200"].expected == "3"
    assert checks["finished + lost"].expected == "8"
    assert checks["lost, as clients saw it"].expected == "1"


def _count(name: str, by: int, *labels: str) -> Callable[[Books, Samples], None]:
    def lie(_books: Books, metrics: Samples) -> None:
        metrics[name, *labels] = metrics.get((name, *labels), 0) + by

    return lie


def _more(
    *, entries: tuple[Entry, ...] = (), attempts: tuple[Attempt, ...] = ()
) -> Callable[[Books, Samples], None]:
    def lie(books: Books, _metrics: Samples) -> None:
        books.entries += entries
        books.attempts |= {note.name: note for note in attempts}

    return lie


def _without_downs(books: Books, _metrics: Samples) -> None:
    books.downs = []


def _without_kills(books: Books, _metrics: Samples) -> None:
    books.kills = []


SHADOW = "modelproxy_shadow_requests_total"
LIES = {
    "an answer counted twice": (
        _count("modelproxy_requests_total", 1, "code=200", "route=wine"),
        {"requests counted with 200", "finished + lost"},
    ),
    "a status that nobody got": (
        _count("modelproxy_requests_total", 1, "code=503", "route=wine"),
        {"requests counted with 503", "finished + lost"},
    ),
    "a lost request too many": (
        _count("modelproxy_upstream_faults_total", 1, "kind=lost", "model=v1"),
        {"lost = under way in killed workers", "lost, as clients saw it", "finished + lost"},
    ),
    "a gauge that stays up": (
        _count("modelproxy_in_flight_requests", 1, "route=wine", "variant=v1"),
        {"in flight at the end"},
    ),
    "a connection that stays open": (_count("modelproxy_connections", 1), {"connections open at the end"}),
    "a connection nobody opened": (_count("modelproxy_connections_opened_total", 1), {"connections opened"}),
    "a fault that was none": (
        _count("modelproxy_upstream_faults_total", 1, "kind=protocol", "model=flaky"),
        {"faults of the flaky model: protocol"},
    ),
    "a copy that never left": (
        _count(SHADOW, 1, "model=shade", "outcome=sent"),
        {"shade: eligible = sent + dropped", "shade: sent = answered + failed"},
    ),
    "an answer of nobody's": (
        _count(SHADOW, 1, "model=shade", "outcome=answered"),
        {
            "shade: sent = answered + failed",
            "shade: answered = compared + uncomparable + comparison_dropped",
        },
    ),
    "a record that is not there": (
        _count("modelproxy_payload_records_total", 1, "outcome=written", "route=wine"),
        {"sampled = written + dropped + failed", "lines in the payload log"},
    ),
    "a reload that did not happen": (_count("modelproxy_config_reloads_total", 1), {"reloads"}),
    "a refusal that was none": (_count("modelproxy_config_reloads_refused_total", 1), {"reloads refused"}),
    "an error without a cause": (_without_downs, {"failed requests without an excuse"}),
    "a broken connection without a cause": (
        _without_kills,
        {
            "failed requests without an excuse",
            "lost = under way in killed workers",
            "lost, as clients saw it",
            "shade: copies answered",
        }
        - {"shade: copies answered"},
    ),
    "a request that nobody made": (
        _more(attempts=(attempt(99),)),
        {"requests at models that no client made"},
    ),
    "a request made twice": (
        _more(attempts=(attempt(1, name="v1.1.77"),)),
        {"requests sent again"},
    ),
    "a copy made twice": (
        _more(attempts=(attempt(1, "shade", "G", name="shade.1.77"),)),
        {"shade: requests copied twice", "shade: copies that arrived"},
    ),
    "a model that goes on for nobody": (
        _more(
            entries=(entry(9, Kind.LEAVE_WAIT, End.LEFT, port=1003, opened_ns=3000 * MS),),
            attempts=(attempt(9, ended_ns=12_000 * MS),),
        ),
        {"models that worked on for nobody", "finished + lost"},
    ),
}


@pytest.mark.parametrize(("lie", "found_by"), LIES.values(), ids=LIES)
def test_lies_are_found(lie: Callable[[Books, Samples], None], found_by: set[str]) -> None:
    """Each lie in one of the books is found by the checks that are there for it, and by no other."""
    books, metrics = world()
    log = records(books)
    lie(books, metrics)
    assert found_by == violated(books, metrics, log)


RECORD_LIES = {
    "another status": (record(1, status=500), "records that say something else than clients saw"),
    "another variant": (
        record(1, variant="v2", unit="w"),
        "records that say something else than clients saw",
    ),
    "a wrong comparison": (record(1, result="disagree"), "comparisons with the wrong result"),
    "a unit that moved": (record(2, variant="v2"), "units that moved under one table"),
    "an unknown request": (record(77), "records of requests that nobody made"),
    "a record twice": (record(2), "records written twice"),
}


@pytest.mark.parametrize(("line", "found_by"), RECORD_LIES.values(), ids=RECORD_LIES)
def test_lies_in_records_are_found(line: bytes, found_by: str) -> None:
    """Each untrue record is found."""
    books, metrics = world()
    log = read_records([record(1), record(2), record(5, status=502), line], by_identity(books))
    assert found_by in violated(books, metrics, log)


def test_growth_is_bounded() -> None:
    """Growth over the bound is a violation, and so is a process that should have lived and did not."""
    flat = Growth("worker 0", 60.0, 50 * 2.0**20, 2.0**20, 40.0, 0.0)
    leak = Growth("worker 0", 60.0, 50 * 2.0**20, 60 * 2.0**20, 40.0, 30.0)
    assert all(check.holds for check in check_growth([flat], ["worker 0"]))
    assert [check.holds for check in check_growth([leak], ["worker 0"])] == [True, False, False]
    assert not check_growth([], ["worker 0"])[0].holds


EXCUSES = {
    "killed while under way": (entry(4, end=End.BROKEN), "worker killed"),
    "the kill came later": (entry(3, end=End.BROKEN, port=1004), None),
    "another connection": (entry(4, end=End.BROKEN, port=1099), None),
    "model away": (entry(5, status=502, variant=""), "model killed"),
    "model away, but another status": (entry(5, status=500, variant=""), None),
    "challenger away, where the champion stands in": (entry(10, status=502, variant=""), None),
    "challenger away, in the middle": (entry(10, end=End.CUT), "model killed"),
    "challenger away, that was insisted on": (entry(10, Kind.FORCED, status=502, variant=""), "model killed"),
    "model back again": (entry(6, status=502, variant=""), None),
    "model failed as told": (entry(7, end=End.CUT), "model failed as told"),
    "wrong answers have none": (entry(5, wrong="not the body"), None),
    "refused connections have none": (entry(5, end=End.NO_CONNECTION), None),
}


@pytest.mark.parametrize(("made", "expected"), EXCUSES.values(), ids=EXCUSES)
def test_excuses(made: Entry, expected: str | None) -> None:
    """A failed request is excused by a kill of what it depended on, at that time, and by nothing else."""
    books, _ = world()
    books.downs.append(Down("v2", 10_200 * MS, 10_700 * MS))
    assert expected == Judge(books.kills, books.downs, books.by_identity()).excuse(made)


def test_right_ends() -> None:
    """What was ordered is right, also where it is an error or a cut; anything else is not."""
    assert is_right(entry(1))
    assert is_right(entry(1, Kind.STALL))
    assert is_right(entry(1, Kind.CUT, End.CUT))
    assert is_right(entry(1, Kind.LEAVE_STREAM, End.LEFT))
    assert not is_right(entry(1, status=500))
    assert not is_right(entry(1, Kind.CUT, End.WHOLE))
    assert not is_right(entry(1, end=End.CUT))
    assert not is_right(entry(1, wrong="not the body"))


def test_a_kill_may_part_one_answer_from_its_note() -> None:
    """A model is killed between answer and note once a kill at most; more answers without a note are lies."""
    books, made = world()
    name = "answers whose model was killed before its note"
    for first, holds in ((1, True), (2, False)):
        note = books.attempts[attempt(first).name]
        note.outcome, note.status = "", 0
        checks = {check.name: check.holds for check in check_models(books, Counts(made))}
        assert checks["answers that no model wrote"]
        assert checks[name] == holds


def test_models_books_are_read() -> None:
    """A line that a kill cut short is left out; its attempt has no outcome."""
    lines = [
        "S 10 v1.1.1 id-1 p label\n",
        "S 11 v1.1.2 id-2 s cut\n",
        "A 12 v1.1.1 200 00000000\n",
        "F 13 v1.",
    ]
    found = read_attempts(lines)
    assert [(a.outcome, a.status, a.is_copy, a.model) for a in found.values()] == [
        ("A", 200, False, "v1"),
        ("", 0, True, "v1"),
    ]


@pytest.mark.parametrize("line", ["A 12 v1.1.1 200 0\n", "G 12 v1.1.9\n"])
def test_impossible_books_are_refused(line: str) -> None:
    """An attempt ends once, after it began."""
    with pytest.raises(ValueError, match="ends without having begun, or twice"):
        read_attempts(["S 10 v1.1.1 id-1 p label\n", "A 11 v1.1.1 200 0\n", line])
