from decimal import Decimal

import pytest
import yaml

from tests.settings.settings_cases import FULL
from tests.settings.settings_world import minimal, read


def test_log() -> None:
    """The log of a route holds what the file says."""
    log = read(FULL, TOKEN="12345678").routes[0].log
    assert (log.percent, log.body, log.headers, log.salt) == (Decimal(1), 0, ("content-type",), "u")
    redactions = [(r.pointer, r.header, r.action) for r in log.redact]
    assert redactions == [("/a/*/b", None, "hash"), (None, "x-key", None)]
    named = [(r.tensor, r.detect, r.action, r.keep) for r in log.redact]
    assert named == [(None, None, "hash", 4), (None, None, None, 4)]


REDACTIONS = {
    "{tensor: ssn, action: mask}": ("ssn", None, "mask", 4),
    "{detect: card, action: keep_last, keep: 6}": (None, "card", "keep_last", 6),
    "{detect: email}": (None, "email", None, 4),
}


@pytest.mark.parametrize("entry", REDACTIONS)
def test_redactions(entry: str) -> None:
    """A tensor, or what is looked for, and what becomes of it."""
    (redaction,) = read(minimal(route={"log": {"redact": [yaml.safe_load(entry)]}})).routes[0].log.redact
    assert (redaction.tensor, redaction.detect, redaction.action, redaction.keep) == REDACTIONS[entry]
