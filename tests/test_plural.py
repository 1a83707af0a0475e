"""Numbers of things: one is singular, everything else is not."""

import pytest

from proxy.plural import count


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "request", "0 requests"),
        (1, "request", "1 request"),
        (2, "request", "2 requests"),
        (1_000_000, "request", "1,000,000 requests"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (2, "day", "2 days"),
        (3, "box", "3 boxes"),
        (3, "class", "3 classes"),
        (3, "batch", "3 batches"),
        (1_234, "", "1,234"),
    ],
)
def test_count(number: int, noun: str, text: str) -> None:
    """The number has its thousands apart, the noun its plural."""
    assert count(number, noun) == text
