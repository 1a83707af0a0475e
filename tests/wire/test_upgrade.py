"""Which wish for another protocol is passed on, and which consent is believed."""

import pytest

from proxy.wire.upgrade import offered_protocol, switched_protocol, upgrade_lines

OFFERS: dict[str, tuple[list[bytes], bytes]] = {
    "the one": ([b"websocket"], b"websocket"),
    "its case is kept": ([b"WebSocket"], b"WebSocket"),
    "with a version": ([b"websocket/13"], b"websocket/13"),
    "first that is allowed": ([b"h2c, websocket"], b"websocket"),
    "in several fields": ([b"h2c", b" websocket "], b"websocket"),
    "another": ([b"h2c"], b""),
    "a longer name": ([b"websockets"], b""),
    "nothing": ([b""], b""),
    "only commas": ([b" , ,"], b""),
}


@pytest.mark.parametrize(("values", "expected"), OFFERS.values(), ids=OFFERS.keys())
def test_offered(values: list[bytes], expected: bytes) -> None:
    """The first allowed protocol is taken as it is written; others are not seen."""
    names = [b"upgrade"] * len(values)
    assert offered_protocol([b"host", *names], [b"websocket", *values], {b"websocket"}) == expected


def test_nothing_is_allowed() -> None:
    """Without allowed protocols no wish is passed on."""
    assert offered_protocol([b"upgrade"], [b"websocket"], set()) == b""


@pytest.mark.parametrize(
    ("values", "expected"),
    [([b"websocket"], b"websocket"), ([b"a, b"], b""), ([b"a", b"b"], b""), ([], b""), ([b""], b"")],
)
def test_switched(values: list[bytes], expected: bytes) -> None:
    """A response switches to exactly one protocol."""
    assert switched_protocol([b"upgrade"] * len(values), values) == expected


def test_lines() -> None:
    """The wish names itself a hop's affair."""
    assert upgrade_lines(b"websocket") == b"connection: upgrade\r\nupgrade: websocket\r\n"
