"""Options of ``modelproxy replay``: what each text means."""

from decimal import Decimal

import click
import pytest

from proxy.commands.replay_options import (
    read_changes,
    read_moment,
    read_reference,
    read_seconds,
    read_share,
    read_speed,
    read_url,
)


def test_values() -> None:
    """Each text gives its value."""
    assert [read_share(text) for text in ("2%", "2", "0", "100 %", "0.5%")] == [0.02, 0.02, 0.0, 1.0, 0.005]
    assert [read_seconds(text) for text in ("30s", "250ms", "1m30s")] == [30.0, 0.25, 90.0]
    assert [read_reference(text) for text in ("recorded", "http://h:1/a/")] == [None, "http://h:1/a"]
    assert read_speed("10x") == 10.0
    assert read_moment("1970-01-01T00:00:01Z") == 1_000_000_000


def test_changes_are_read_as_the_file_reads_them() -> None:
    """Values are YAML: numbers, texts and lists, as under ``compare``."""
    changes = read_changes("json", ("rtol=1e-3", "ignore=[/a, /b/*]", "label = /x"))
    assert changes == {"as": "json", "rtol": Decimal("0.001"), "ignore": ["/a", "/b/*"], "label": "/x"}
    assert read_changes(None, ()) == {}


@pytest.mark.parametrize("rule", ["rtol", "=1", "rtol=["])
def test_no_change(rule: str) -> None:
    """What is no key with a value is refused."""
    with pytest.raises(click.BadParameter):
        read_changes(None, (rule,))


@pytest.mark.parametrize("text", ["nan", "-1", "101", "two", ""])
def test_no_share(text: str) -> None:
    """What is no percent is refused."""
    with pytest.raises(ValueError, match="a percent from 0 to 100"):
        read_share(text)


def test_no_url() -> None:
    """A URL is that of a model: no query, no user."""
    for text in ("h:1", "ftp://h", "http://u:p@h", "http://h/?a"):
        with pytest.raises(ValueError, match="expected a URL"):
            read_url(text)
