"""When a table version is over."""

from collections import Counter

import pytest

from proxy.retirement import is_quiet, settle
from proxy.tally import Key

W = ("wine", "v1", "m1")
S = ("wine", "m4")

REQUESTS: dict[Key, int] = {
    ("variant", "started", *W): 10,
    ("variant", "code_200", *W): 7,
    ("variant", "code_499", *W): 2,
    ("variant", "lost", *W): 1,
}
SHADOWS: dict[Key, int] = {
    ("shadow", "eligible", *S): 9,
    ("shadow", "sent", *S): 8,
    ("shadow", "dropped_bytes", *S): 1,
    ("shadow", "failed", *S): 2,
    ("shadow", "answered", *S): 6,
    ("shadow", "comparison_dropped", *S): 1,
    ("shadow", "shipped", *S): 5,
}
COMPARISONS: dict[Key, int] = {
    ("comparison", "agree", "wine", "v1", "m4"): 1,
    ("comparison", "disagree", "wine", "v2", "m4"): 1,
    ("comparison", "uncomparable", "wine", "v1", "m4"): 1,
    ("comparison", "dropped", "wine", "v1", "m4"): 2,
    ("comparison", "distance_3", "wine", "v1", "m4"): 2,
}
RECORDS: dict[Key, int] = {
    ("payload", "sampled", "wine"): 6,
    ("payload", "shipped", "wine"): 4,
    ("payload", "dropped", "wine"): 2,
}
SINK: dict[Key, int] = {
    ("sink", "written", "wine"): 2,
    ("sink", "dropped", "wine"): 1,
    ("sink", "failed", "wine"): 1,
}

CASES: dict[str, tuple[dict[Key, int], dict[Key, int], bool]] = {
    "nothing ever": ({}, {}, True),
    "all ended": ({**REQUESTS, **SHADOWS, **RECORDS}, {**COMPARISONS, **SINK}, True),
    "what is no road is not looked at": (
        {("unit", "missing", "wine"): 3, ("worker", "connections_opened"): 9},
        {},
        True,
    ),
    "a request in flight": ({**REQUESTS, ("variant", "started", *W): 11}, {}, False),
    "a request of a worker that died and has no successor yet": ({("variant", "started", *W): 1}, {}, False),
    "a shadow in flight": ({**SHADOWS, ("shadow", "sent", *S): 9}, COMPARISONS, False),
    "an answer that was not handed over yet": ({**SHADOWS, ("shadow", "shipped", *S): 4}, COMPARISONS, False),
    "a comparison that waits": (
        SHADOWS,
        {**COMPARISONS, ("comparison", "agree", "wine", "v1", "m4"): 0},
        False,
    ),
    "no observer yet": (SHADOWS, {}, False),
    "a record that was thinned": (
        RECORDS,
        {**SINK, ("sink", "written", "wine"): 1, ("sink", "thinned", "wine"): 1},
        True,
    ),
    "a record that only the observer chose": (
        RECORDS,
        {
            **SINK,
            ("sink", "written", "wine"): 3,
            ("sink", "chosen", "wine"): 1,
            ("sink", "rule_failed", "wine"): 9,
        },
        True,
    ),
    "one of these that waits": (RECORDS, {**SINK, ("sink", "chosen", "wine"): 1}, False),
    "a record that waits": (RECORDS, {**SINK, ("sink", "written", "wine"): 1}, False),
    "one route's surplus does not cover another's want": (
        {("variant", "started", *W): 1, ("variant", "code_200", "beer", "v1", "m1"): 1},
        {},
        False,
    ),
}


def test_second_answers_of_the_champion() -> None:
    """They are waited for as shadows' are, and the one's surplus does not cover the other's want."""
    renamed = {"shadow": "noise", "comparison": "noise_comparison"}
    noise = {(renamed[kind], *rest): number for (kind, *rest), number in SHADOWS.items()}
    judged = {(renamed[kind], *rest): number for (kind, *rest), number in COMPARISONS.items()}
    assert is_quiet({**SHADOWS, **noise}, {**COMPARISONS, **judged})
    assert not is_quiet({**SHADOWS, **noise}, COMPARISONS)
    assert not is_quiet(noise, COMPARISONS)
    open_counts: Counter[Key] = Counter({**noise, ("noise_comparison", "agree", "wine", "v1", "m4"): 2})
    assert settle(open_counts) - open_counts == Counter({("noise", "comparison_dropped", *S): 3})


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    """A version is quiet exactly when everything begun has ended."""
    workers, observer, expected = CASES[case]
    assert expected == is_quiet(workers, observer)


@pytest.mark.parametrize("key", [*REQUESTS, *SHADOWS, *RECORDS])
def test_every_count_of_the_road_matters(key: Key) -> None:
    """One more of any count that begins or ends something makes the version not quiet."""
    workers = {**REQUESTS, **SHADOWS, **RECORDS}
    workers[key] += 1
    looked_at = key[1] not in ("eligible", "dropped_bytes", "sampled") and key[:2] != ("payload", "dropped")
    assert looked_at != is_quiet(workers, {**COMPARISONS, **SINK})


ENDPOINT = ("endpoint", "one", "http://127.0.0.1:9001")


def test_what_has_ended_is_left_alone() -> None:
    """Counts that agree need no end."""
    ended = Counter({**REQUESTS, **SHADOWS, **RECORDS, **COMPARISONS, **SINK})
    ended["shadow", "answered", *S] = ended["shadow", "comparison_dropped", *S] + 5
    assert settle(ended) == ended


@pytest.mark.parametrize(
    ("open_counts", "added"),
    [
        ({("variant", "started", *W): 3, ("variant", "code_200", *W): 1}, {("variant", "lost", *W): 2}),
        ({("shadow", "eligible", *S): 2}, {("shadow", "dropped_draining", *S): 2}),
        (
            {("shadow", "eligible", *S): 2, ("shadow", "sent", *S): 2, ("shadow", "dropped_bytes", *S): 0},
            {("shadow", "failed", *S): 2},
        ),
        (
            {**SHADOWS, ("shadow", "answered", *S): 6, ("comparison", "agree", "wine", "v1", "m4"): 2},
            {("shadow", "comparison_dropped", *S): 3},
        ),
        (
            {
                ("delivery", "taken", "kafka"): 9,
                ("delivery", "written", "kafka"): 5,
                ("delivery", "failed", "kafka"): 1,
            },
            {("delivery", "failed", "kafka"): 3},
        ),
        (
            {**RECORDS, ("sink", "written", "wine"): 1},
            {("payload", "dropped", "wine"): 3},
        ),
        (
            {("sink", "chosen", "wine"): 5, ("sink", "written", "wine"): 2, ("sink", "thinned", "wine"): 1},
            {("payload", "dropped", "wine"): 2},
        ),
        (
            {
                ("worker", "connections_opened"): 5,
                ("worker", "connections_carried"): 2,
                ("worker", "connections_closed"): 4,
            },
            {("worker", "connections_closed"): 3},
        ),
        (
            {("endpoint", "unhealthy", *ENDPOINT[1:]): 2, ("endpoint", "ejected_carried", *ENDPOINT[1:]): 1},
            {("endpoint", "healthy_again", *ENDPOINT[1:]): 2, ("endpoint", "readmitted", *ENDPOINT[1:]): 1},
        ),
        (
            {("model", "limit_raised", "m1"): 9, ("model", "limit_lowered", "m1"): 4},
            {("model", "limit_lowered", "m1"): 5},
        ),
    ],
    ids=[
        "requests",
        "unsent",
        "unanswered",
        "uncompared",
        "undelivered",
        "unwritten",
        "chosen, unwritten",
        "connections",
        "servers",
        "limits",
    ],
)
def test_everything_begun_gets_one_end(open_counts: dict[Key, int], added: dict[Key, int]) -> None:
    """What no writer will ever end is ended, and settling twice changes nothing."""
    counts = Counter(open_counts)
    settled = settle(counts)
    assert settled - counts == Counter(added)
    assert settle(settled) == settled
