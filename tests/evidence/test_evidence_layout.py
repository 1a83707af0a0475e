"""The layout of evidence: names and places agree, and a duration falls where it should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.evidence import layout
from proxy.evidence.layout import BUCKETS, EVIDENCE_FIELDS, FIELDS, GAMMA, bucket_of


def test_names_and_places_agree() -> None:
    """Every constant is the place of the field that it is called after."""
    events = ("errors", "client_errors", "abandoned")
    places = (layout.ERRORS, layout.CLIENT_ERRORS, layout.ABANDONED)
    singular = ("error", "client_error", "abandoned")
    assert EVIDENCE_FIELDS[layout.REQUESTS] == "requests"
    assert EVIDENCE_FIELDS[layout.UNITS] == "units"
    for event, one, place in zip(events, singular, places, strict=True):
        assert EVIDENCE_FIELDS[layout.EVENTS + place] == event
        assert EVIDENCE_FIELDS[layout.FIRST_EVENTS + place] == f"first_{event}"
        assert EVIDENCE_FIELDS[layout.REQUEST_EVENTS + place] == f"{one}_requests"
    for bucket in (0, 1, BUCKETS - 1):
        assert EVIDENCE_FIELDS[layout.LATENCY + bucket] == f"latency_{bucket}"
        assert EVIDENCE_FIELDS[layout.FIRST_LATENCY + bucket] == f"first_latency_{bucket}"
    assert len(set(EVIDENCE_FIELDS)) == FIELDS == 811


@pytest.mark.parametrize(
    ("duration_ns", "bucket"),
    [(-5, 0), (0, 0), (1, 0), (1000, 0), (1001, 1), (1049, 1), (1051, 2), (1_000_000, 142), (10**11, 378)],
)
def test_buckets_by_hand(duration_ns: int, bucket: int) -> None:
    """1 µs is the end of the first bucket; a millisecond, and 100 s, are where the formula says."""
    assert bucket_of(duration_ns) == bucket


def test_the_last_bucket_has_no_end() -> None:
    """Minutes and years fall into the same one."""
    assert bucket_of(10**12) == bucket_of(10**18) == BUCKETS - 1
    assert bucket_of(int(1000 * GAMMA ** (BUCKETS - 2) * 0.999)) == BUCKETS - 2


@given(st.integers(1001, 10**12))
def test_a_duration_lies_between_the_edges_of_its_bucket(duration_ns: int) -> None:
    """Bucket b holds durations from 1.05^(b-1) to 1.05^b µs."""
    bucket = bucket_of(duration_ns)
    assert GAMMA ** (bucket - 1) <= duration_ns / 1000 * (1 + 1e-12)
    if bucket < BUCKETS - 1:
        assert duration_ns / 1000 <= GAMMA**bucket * (1 + 1e-12)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_longer_is_never_a_lower_bucket(one_ns: int, other_ns: int) -> None:
    """Buckets are in the order of durations."""
    assert bucket_of(min(one_ns, other_ns)) <= bucket_of(max(one_ns, other_ns))
