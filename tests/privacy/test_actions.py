"""What becomes of a value, by action."""

import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.privacy.actions import MASK, Action, Treatment, keyed_hash, stronger, treat_text, treat_value

KEY = b"k" * 32

VALUES: dict[str, tuple[Treatment, Any, Any]] = {
    "drop": (Treatment("drop"), "ada", None),
    "hash of text": (Treatment("hash"), "ada", keyed_hash(KEY, b"ada")),
    "hash of a number": (Treatment("hash"), 42, keyed_hash(KEY, b"42")),
    "hash of null": (Treatment("hash"), None, keyed_hash(KEY, b"null")),
    "hash of an object is by value": (
        Treatment("hash"),
        {"b": 1, "a": 2},
        keyed_hash(KEY, b'{"a":2,"b":1}'),
    ),
    "mask of text": (Treatment("mask"), "ada", MASK),
    "mask keeps types": (Treatment("mask"), ["a", 7, 1.5, True, None], [MASK, 0, 0.0, False, None]),
    "mask keeps keys": (Treatment("mask"), {"a": {"b": [1, "x"]}}, {"a": {"b": [0, MASK]}}),
    "the end": (Treatment("keep_last", 4), "4111111111111111", "***1111"),
    "the end of a number": (Treatment("keep_last", 4), 4111111111111111, "***1111"),
    "the end of each": (Treatment("keep_last", 1), ["abc", {"k": "xyz"}], ["***c", {"k": "***z"}]),
    "the end of what has none": (Treatment("keep_last"), [True, None], [False, None]),
    "too short to keep an end of": (Treatment("keep_last", 4), "1234567", MASK),
    "just long enough": (Treatment("keep_last", 4), "12345678", "***5678"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    """Each action does what it says, to each kind of value, and never to the argument itself."""
    treatment, value, expected = VALUES[name]
    assert treat_value(treatment, KEY, value) == expected


def test_keyed_hash_is_hmac_sha256() -> None:
    """The hash is the head of HMAC-SHA256 (RFC 4231 test case 2)."""
    assert keyed_hash(b"Jefe", b"what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"
    assert keyed_hash(KEY, b"x") == hmac.new(KEY, b"x", "sha256").hexdigest()[:32]


def test_a_lone_surrogate_has_a_hash() -> None:
    """A text that JSON may hold and UTF-8 may not does not end in an error."""
    assert treat_text(Treatment("hash"), KEY, "\ud800") == keyed_hash(KEY, b"\xed\xa0\x80")


ACTIONS: list[Action] = ["drop", "mask", "hash", "keep_last"]


@pytest.mark.parametrize("at", range(3))
def test_the_stronger_of_two(at: int) -> None:
    """Of two rules for one thing the one counts that leaves less of it, whichever stands first."""
    strong, weak = Treatment(ACTIONS[at]), Treatment(ACTIONS[at + 1])
    assert stronger(strong, weak) == stronger(weak, strong) == stronger(strong, None) == strong


@given(st.text(min_size=1), st.integers(1, 64))
def test_at_most_half_is_kept(text: str, keep: int) -> None:
    """The end that is kept is never more than half of the text."""
    shown = treat_text(Treatment("keep_last", keep), KEY, text)
    assert shown is not None
    assert shown.startswith(MASK)
    assert len(shown) - len(MASK) <= len(text) / 2
