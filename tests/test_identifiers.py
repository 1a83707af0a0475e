"""Identifiers are unique, well-formed and cheap."""

from uuid import RFC_4122, UUID

from proxy.identifiers import RequestIds, random_bits


def test_request_ids_are_uuids_of_version_8() -> None:
    """Every id is a UUID in its usual form, with the version and variant of RFC 9562 §5.8."""
    for _ in range(20):
        raw = RequestIds().fresh()
        parsed = UUID(raw.decode())
        assert str(parsed).encode() == raw
        assert (parsed.version, parsed.variant) == (8, RFC_4122)


def test_request_ids_do_not_repeat() -> None:
    """One instance never gives an id twice."""
    ids = RequestIds()
    assert len({ids.fresh() for _ in range(10_000)}) == 10_000


def test_two_processes_do_not_clash() -> None:
    """Instances differ in their random part, not only in their counter."""
    assert len({RequestIds().fresh()[:23] for _ in range(100)}) == 100


def test_the_counter_wraps_without_changing_its_width() -> None:
    """After the last of 2^48 ids the counter starts again at 0 and the id keeps its form."""
    ids = RequestIds()
    ids._count = (1 << 48) - 2
    assert [ids.fresh()[-12:] for _ in range(3)] == [b"ffffffffffff", b"000000000000", b"000000000001"]


def test_random_bits_fit_and_are_never_zero() -> None:
    """Trace and span ids have their size and are not 0."""
    for size in (1, 8, 16):
        drawn = {random_bits(size) for _ in range(300)}
        assert min(drawn) > 0
        assert max(drawn) < 1 << (8 * size)
    assert len({random_bits(8) for _ in range(1000)}) == 1000
