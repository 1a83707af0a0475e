"""What is counted of one server, and how it goes from table to table."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.endpoint_counts import EndpointCounts
from proxy.tally import ENDPOINT_FIELDS

Slots = list[int]
BASE = 3


def block() -> Slots:
    return [0] * (BASE + len(ENDPOINT_FIELDS))


def named(slots: Slots) -> dict[str, int]:
    return {field: slots[BASE + i] for i, field in enumerate(ENDPOINT_FIELDS) if slots[BASE + i]}


def lasting(slots: Slots) -> tuple[int, int]:
    """Return how many hold the server for unhealthy, and for ejected, under one version alone."""
    counts = dict.fromkeys(ENDPOINT_FIELDS, 0) | named(slots)
    return (
        counts["unhealthy"] + counts["unhealthy_carried"] - counts["healthy_again"],
        counts["ejected"] + counts["ejected_carried"] - counts["readmitted"],
    )


def test_everything_has_its_field() -> None:
    """Checks, changes of health, ejections, and what is asked all the same."""
    slots, counts = block(), EndpointCounts("http://h")
    counts.move(slots, BASE)
    counts.on_check(True)
    counts.on_check(False)
    counts.on_check(False)
    counts.set_unhealthy(True)
    counts.set_unhealthy(True)
    counts.on_ejected()
    counts.on_readmitted()
    counts.on_asked_unhealthy()
    assert named(slots) == {
        "check_passed": 1,
        "check_failed": 2,
        "unhealthy": 1,
        "ejected": 1,
        "readmitted": 1,
        "asked_unhealthy": 1,
    }


def test_what_lasts_is_carried_over() -> None:
    """A reload ends what lasts under the old version and begins it under the new one; the same table is no reload."""
    old, fresh, counts = block(), block(), EndpointCounts("http://h")
    counts.move(old, BASE)
    counts.set_unhealthy(True)
    counts.on_ejected()
    counts.on_ejected()
    counts.move(old, BASE)
    assert lasting(old) == (1, 2)
    counts.move(fresh, BASE)
    assert (lasting(old), lasting(fresh)) == ((0, 0), (1, 2))
    assert named(fresh) == {"unhealthy_carried": 1, "ejected_carried": 2}


def test_a_server_that_is_in_no_table_counts_nowhere() -> None:
    """What comes late, such as the end of an ejection, finds no slots and does no harm."""
    slots, counts = block(), EndpointCounts("http://h")
    counts.move(slots, BASE)
    counts.on_ejected()
    counts.move(None, 0)
    counts.on_readmitted()
    assert named(slots) == {"ejected": 1, "readmitted": 1}


@given(st.lists(st.sampled_from(["sick", "well", "eject", "readmit", "reload"]), max_size=40))
def test_every_version_is_settled_alone(steps: list[str]) -> None:
    """Whatever happens in whatever order, only the table in force shows what lasts, and the sum is the truth."""
    blocks, counts, sick, ejected = [block()], EndpointCounts("http://h"), False, 0
    counts.move(blocks[-1], BASE)
    for step in steps:
        if step in ("sick", "well"):
            sick = step == "sick"
            counts.set_unhealthy(sick)
        elif step == "eject":
            ejected += 1
            counts.on_ejected()
        elif step == "readmit" and ejected:
            ejected -= 1
            counts.on_readmitted()
        elif step == "reload":
            blocks.append(block())
            counts.move(blocks[-1], BASE)
    assert [lasting(each) for each in blocks[:-1]] == [(0, 0)] * (len(blocks) - 1)
    assert lasting(blocks[-1]) == (int(sick), ejected)
