from decimal import Decimal

from tests.settings.settings_cases import FULL
from tests.settings.settings_world import read


def test_log() -> None:
    """The log of a route holds what the file says."""
    log = read(FULL, TOKEN="12345678").routes[0].log
    assert (log.percent, log.body, log.headers, log.salt) == (Decimal(1), 0, ("content-type",), "u")
    redactions = [(r.pointer, r.header, r.action) for r in log.redact]
    assert redactions == [("/a/*/b", None, "hash"), (None, "x-key", "drop")]
