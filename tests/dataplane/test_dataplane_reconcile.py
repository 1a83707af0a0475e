"""What a worker settles for its dead predecessor."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.reconcile import reconcile, shipped_counts
from proxy.retirement import is_quiet
from proxy.routing.table import Table
from tests.dataplane.road import CONFIG, build_table

MIRRORED = CONFIG + "    shadows: [{model: three}]\n    log: {percent: 100}\n"
VARIANT = ("variant", "wine", "v1", "one")
SHADOW = ("shadow", "wine", "three")


def slot(table: Table, section: tuple[str, ...], field: str) -> int:
    return table.layout.section(*section).slot(field)


def count(table: Table, section: tuple[str, ...], field: str) -> int:
    return int(table.slots[slot(table, section, field)])


def interrupt(table: Table, counts: dict[tuple[tuple[str, ...], str], int]) -> None:
    for (section, field), number in counts.items():
        table.slots[slot(table, section, field)] = number


def test_every_open_count_gets_the_one_end_that_is_true() -> None:
    """Requests in flight are lost, shadows sent are failed, answers not shipped are dropped, connections are closed."""
    table = build_table(MIRRORED)
    interrupt(
        table,
        {
            (VARIANT, "started"): 10,
            (VARIANT, "code_200"): 6,
            (VARIANT, "code_499"): 1,
            (SHADOW, "eligible"): 9,
            (SHADOW, "sent"): 8,
            (SHADOW, "answered"): 5,
            (SHADOW, "shipped"): 4,
            (("payload", "wine"), "sampled"): 3,
            (("payload", "wine"), "shipped"): 2,
            (("worker",), "connections_opened"): 7,
            (("worker",), "connections_carried"): 2,
            (("worker",), "connections_closed"): 4,
        },
    )
    reconcile(table)
    assert count(table, VARIANT, "lost") == 3
    assert count(table, ("model", "one"), "fault_lost") == 3
    assert count(table, SHADOW, "dropped_draining") == 1
    assert count(table, SHADOW, "failed") == 3
    assert count(table, SHADOW, "comparison_dropped") == 1
    assert count(table, ("payload", "wine"), "dropped") == 1
    assert count(table, ("worker",), "connections_closed") == 9


def test_servers_that_were_out_are_in() -> None:
    """The successor believes in every server until it knows better; what was counted stays counted."""
    table = build_table(
        MIRRORED.replace('"http://127.0.0.1:9001"', '["http://127.0.0.1:9001", "http://127.0.0.1:9011"]')
    )
    server = ("endpoint", "one", "http://127.0.0.1:9011")
    before = {"unhealthy": 3, "unhealthy_carried": 1, "healthy_again": 2, "ejected": 5, "check_failed": 7}
    interrupt(table, {(server, field): number for field, number in before.items()})
    reconcile(table)
    after = before | {"healthy_again": 4, "readmitted": 5}
    assert {field: count(table, server, field) for field in after} == after


def test_a_fresh_block_and_a_second_time_change_nothing() -> None:
    """There is nothing to settle without a predecessor, nor twice."""
    table = build_table(MIRRORED)
    reconcile(table)
    assert not any(table.slots)
    table.slots[slot(table, VARIANT, "started")] = 2
    reconcile(table)
    settled = list(table.slots)
    reconcile(table)
    assert list(table.slots) == settled


@given(
    st.tuples(*[st.integers(0, 50)] * 8),
    st.lists(st.sampled_from([200, 404, 499, 502, 599]), max_size=20),
)
def test_the_sums_hold_after_any_interruption(
    steps: tuple[int, int, int, int, int, int, int, int], codes: list[int]
) -> None:
    """Wherever the counting stopped, the table is quiet afterwards once the observer has taken what was shipped."""
    table = build_table(MIRRORED)
    in_flight, undecided, unanswered, failed, unshipped, shipped, dropped, unsampled = steps
    answered = unshipped + shipped + dropped
    sent = unanswered + failed + answered
    interrupt(
        table,
        {
            (VARIANT, "started"): in_flight + len(codes),
            (SHADOW, "eligible"): undecided + sent,
            (SHADOW, "sent"): sent,
            (SHADOW, "failed"): failed,
            (SHADOW, "answered"): answered,
            (SHADOW, "shipped"): shipped,
            (SHADOW, "comparison_dropped"): dropped,
            (("payload", "wine"), "sampled"): unsampled + shipped,
            (("payload", "wine"), "shipped"): shipped,
        },
    )
    for code in codes:
        table.slots[slot(table, VARIANT, f"code_{code}")] += 1
    reconcile(table)
    observed = table.observer_layout.counts(
        shipped if key in (("comparison", "agree"), ("sink", "written")) else 0
        for section in table.observer_layout.sections
        for key in ((section.kind, field) for field in section.fields)
    )
    assert is_quiet(table.layout.counts(table.slots), observed)
    assert count(table, SHADOW, "eligible") == sent + count(table, SHADOW, "dropped_draining")


def test_the_hello_names_all_that_was_ever_shipped() -> None:
    """Each version's shadow and payload counts are in the hello, under the names that the observer expects."""
    first, second = build_table(MIRRORED, 1), build_table(MIRRORED, 2)
    interrupt(first, {(SHADOW, "shipped"): 5, (("payload", "wine"), "shipped"): 2})
    assert shipped_counts([first, second]) == {
        "1\nshadow\nwine\nthree": 5,
        "1\npayload\nwine": 2,
        "2\nshadow\nwine\nthree": 0,
        "2\npayload\nwine": 0,
    }
