"""The scripts that any proxy can be put to, run against this one; ``make peers-table`` runs them against the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.__main__ import build_table
from tests.peers.contenders import (
    CONTENDERS,
    SCRIPTS,
    Outcome,
    Running,
    is_varnishtest_here,
    read_outcome,
    serving,
    title_of,
)

needs_varnishtest = pytest.mark.skipif(
    not is_varnishtest_here(), reason="varnishtest is not installed (Debian package varnish)"
)


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy() -> Iterator[Running]:
    ours = CONTENDERS[0]
    with serving(ours, ours.program) as running:
        yield running


@needs_varnishtest
@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_wire_is_as_the_script_says(proxy: Running, script: Path) -> None:
    """What the script's first line says is so."""
    outcome = proxy.play(script)
    assert outcome.is_passed, f"{title_of(script)}: {outcome.reason} (statuses {outcome.statuses})"


def test_every_script_says_what_it_shows() -> None:
    """Each has a title that names its source, and ends with what the client sees."""
    for script in SCRIPTS:
        assert title_of(script).startswith("RFC "), script.name
        assert "expect resp." in script.read_text(), script.name


LOGS: dict[str, tuple[int, str, Outcome]] = {
    "passed": (0, "**** c1    http[ 1] |200\n", Outcome(True, ("200",), "")),
    "another status": (
        1,
        '**** c1    http[ 1] |100\n**** c1    http[ 1] |501\n---- c1    EXPECT resp.status (501) == "400" failed\n',
        Outcome(False, ("100", "501"), "the client sees resp.status 501, not == 400"),
    ),
    "a field that should not be there": (
        1,
        '---- s1    EXPECT req.http.x-hop (secret) == "<undef>" failed\n',
        Outcome(False, (), "the model sees req.http.x-hop secret, not == <undef>"),
    ),
    "silence": (1, "---- c1    HTTP rx timeout (fd:5 3000 ms)\n", Outcome(False, (), "nothing came")),
    "something else": (
        1,
        "---- c1    Failed to open: refused\n",
        Outcome(False, (), "Failed to open: refused"),
    ),
    "nothing": (2, "", Outcome(False, (), "nothing was told")),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_read(name: str) -> None:
    """A failure is told in the words of who looks at the wire."""
    code, log, expected = LOGS[name]
    assert expected == read_outcome(code, log)


def test_the_table_tells_what_is_open_from_what_is_wrong() -> None:
    """A row that the RFC leaves open is no mistake; a difference is explained below."""
    failed = Outcome(False, ("200",), "nothing came")
    passed = Outcome(True, ("400",), "")
    rows = build_table({"a 1": [failed] * len(SCRIPTS), "b 2": [passed] * len(SCRIPTS)}).splitlines()
    (trailers,) = (row for row in rows if row.startswith("| **response-trailers**"))
    (hosts,) = (row for row in rows if row.startswith("| **two-hosts**"))
    assert trailers.endswith("| – 200 | ✓ 400 |")
    assert hosts.endswith("| ✗ 200 | ✓ 400 |")
    assert "- two-hosts: nothing came" in rows
    assert "## b 2" not in rows
