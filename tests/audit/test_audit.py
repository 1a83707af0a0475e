"""What a report of the audit comes to."""

from typing import Any

import pytest

from tests.audit.__main__ import CLEAN, UNKNOWN, VULNERABLE, judge

GOOD: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
BAD: dict[str, Any] = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
SKIPPED: dict[str, Any] = {
    "name": "c",
    "skip_reason": "Dependency not found on PyPI and could not be audited",
}

REPORTS: dict[str, tuple[list[dict[str, Any]], int, str]] = {
    "clean": ([GOOD], CLEAN, "1 pinned versions, no known vulnerability"),
    "vulnerable": ([GOOD, BAD], VULNERABLE, "b 2: PYSEC-1, mended in 2.1"),
    "vulnerable and unknown": ([SKIPPED, BAD], VULNERABLE, "b 2: PYSEC-1, mended in 2.1"),
    "unknown": ([GOOD, SKIPPED], UNKNOWN, "not audited: no advisories could be had for 1 of 2 packages (c)"),
    "nothing": ([], UNKNOWN, "not audited: no advisories could be had for 0 of 0 packages ()"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_unknown_is_never_clean(name: str) -> None:
    """A package of which nothing is known keeps the audit from being clean, and a vulnerability outweighs it."""
    packages, code, sentence = REPORTS[name]
    assert judge({"dependencies": packages})[0] == code
    assert judge({"dependencies": packages})[1][0] == sentence
