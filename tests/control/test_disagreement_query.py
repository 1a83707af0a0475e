"""What may be asked of disagreements, and what is said to a question that cannot be meant."""

import pytest

from proxy.control.disagreement_query import DEFAULT_LIMIT, MAX_LIMIT, Query, parse_query

READ: dict[str, tuple[list[tuple[str, str]], Query]] = {
    "nothing": ([], Query()),
    "everything": (
        [
            ("route", "wine"),
            ("shadow", "wine-v4"),
            ("reason", "label"),
            ("slice", "tier:gold"),
            ("sort", "extreme"),
            ("limit", "3"),
            ("example", "ab12"),
        ],
        Query("wine", "wine-v4", "label", ("tier", "gold"), "extreme", 3, "ab12"),
    ),
    "a value with colons": ([("slice", "lang:a:b")], Query(slice=("lang", "a:b"))),
    "no examples": ([("limit", "0")], Query(limit=0)),
    "all examples": ([("limit", str(MAX_LIMIT))], Query(limit=MAX_LIMIT)),
}


@pytest.mark.parametrize(("pairs", "query"), READ.values(), ids=READ)
def test_what_is_read(pairs: list[tuple[str, str]], query: Query) -> None:
    """Each parameter is read as it is meant."""
    assert parse_query(pairs) == query
    assert Query().limit == DEFAULT_LIMIT


REFUSED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "unknown": (
        [("rout", "wine")],
        "no parameter is called rout; there are: route, shadow, reason, slice, sort, limit",
    ),
    "twice": ([("route", "a"), ("route", "b")], "route: expected once"),
    "no such reason": (
        [("reason", "lable")],
        "no reason is called lable; there are: status, format, rows, names",
    ),
    "empty": ([("reason", "")], "reason: expected a value, or leave it out"),
    "sort": ([("sort", "oldest")], "sort: expected newest or extreme, got oldest"),
    "a slice without value": ([("slice", "tier")], "slice: expected NAME:VALUE such as tier:gold, got tier"),
    "a slice without name": ([("slice", ":gold")], "slice: expected NAME:VALUE"),
    "too many": ([("limit", str(MAX_LIMIT + 1))], f"limit: expected a number from 0 to {MAX_LIMIT}, got 101"),
    "negative": ([("limit", "-1")], "limit: expected a number from 0"),
    "no number": ([("limit", "ten")], "limit: expected a number from 0"),
    "other digits": ([("limit", "٣")], "limit: expected a number from 0"),
    "endless": ([("limit", "9" * 5000)], "limit: expected a number from 0"),
    "control characters": ([("sort", "\x1b[31m" + "x" * 500)], "got \\x1b[31m"),
}


@pytest.mark.parametrize(("pairs", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(pairs: list[tuple[str, str]], sentence: str) -> None:
    """The sentence says what to write, and drives no terminal."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is looked at
        parse_query(pairs)
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
