"""What must not be written is not there afterwards, and everything else is."""

import hmac
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observer.redact import Action, Redactor, keyed_hash

KEY = b"k" * 32
H_ADA = keyed_hash(KEY, b"ada")

CASES: dict[str, tuple[list[tuple[str, Action]], Any, Any]] = {
    "member": ([("/a", "drop")], {"a": 1, "b": 2}, {"b": 2}),
    "nested member": ([("/a/b", "drop")], {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
    "absent": ([("/x/y", "drop")], {"a": 1}, {"a": 1}),
    "list element leaves its place": ([("/a/1", "drop")], {"a": [1, 2, 3]}, {"a": [1, None, 3]}),
    "index beyond the end": ([("/a/7", "drop")], {"a": [1]}, {"a": [1]}),
    "no index": ([("/a/x", "drop")], {"a": [1]}, {"a": [1]}),
    "star over a list": ([("/a/*/n", "drop")], {"a": [{"n": 1, "m": 1}, {"n": 2}]}, {"a": [{"m": 1}, {}]}),
    "star over an object": (
        [("/*/n", "drop")],
        {"a": {"n": 1}, "b": {"n": 2}, "c": 3},
        {"a": {}, "b": {}, "c": 3},
    ),
    "closing star": ([("/a/*", "drop")], {"a": {"x": 1, "y": 2}}, {"a": {}}),
    "closing star over a list": ([("/a/*", "drop")], {"a": [1, 2]}, {"a": [None, None]}),
    "any depth": ([("/**/n", "drop")], {"n": 1, "a": [{"n": 2, "b": {"n": 3}}]}, {"a": [{"b": {}}]}),
    "closing any depth": ([("/a/**", "drop")], {"a": {"x": 1}, "b": 1}, {"a": {}, "b": 1}),
    "escaped": ([("/a~1b/c~0d", "drop")], {"a/b": {"c~d": 1}}, {"a/b": {}}),
    "empty key": ([("/", "drop")], {"": 1, "a": 2}, {"a": 2}),
    "key that is a star": ([("/a/*", "drop")], {"a": {"*": 1}}, {"a": {}}),
    "hash of text": ([("/u", "hash")], {"u": "ada"}, {"u": H_ADA}),
    "hash of a number": ([("/u", "hash")], {"u": 42}, {"u": keyed_hash(KEY, b"42")}),
    "hash of an object is by value": (
        [("/u", "hash")],
        {"u": {"b": 1, "a": 2}},
        {"u": keyed_hash(KEY, b'{"a":2,"b":1}')},
    ),
    "hash of null": ([("/u", "hash")], {"u": None}, {"u": keyed_hash(KEY, b"null")}),
    "hash in a list": ([("/u/*", "hash")], {"u": ["ada", "ada"]}, {"u": [H_ADA, H_ADA]}),
    "drop wins over hash": ([("/u", "hash"), ("/u", "drop")], {"u": "ada"}, {}),
    "drop below a hash": ([("/u", "hash"), ("/u/p", "drop")], {"u": {"p": 1}}, {"u": keyed_hash(KEY, b"{}")}),
    "into a scalar": ([("/a/b/c", "drop")], {"a": "text"}, {"a": "text"}),
    "list at the root": ([("/0/n", "drop")], [{"n": 1}], [{}]),
    "scalar at the root": ([("/a", "drop")], "text", "text"),
    "the whole document": ([("", "drop")], {"a": 1}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_documents(name: str) -> None:
    """What the pointers name is dropped or hashed, the rest is as it was."""
    pointers, document, expected = CASES[name]
    redactor = Redactor.of(KEY, pointers, [])
    assert redactor.redact_document(orjson.loads(orjson.dumps(document))) == expected


def test_keyed_hash_is_hmac_sha256() -> None:
    """The hash is the head of HMAC-SHA256 (RFC 4231 test case 2)."""
    assert keyed_hash(b"Jefe", b"what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"
    assert keyed_hash(KEY, b"x") == hmac.new(KEY, b"x", "sha256").hexdigest()[:32]


def test_headers() -> None:
    """A header is kept, hashed or dropped by its name; drop wins where both are asked for."""
    redactor = Redactor.of(
        KEY, [], [("X-User", "hash"), ("cookie", "drop"), ("cookie", "hash"), ("a", "hash"), ("a", "drop")]
    )
    assert redactor.redact_header("accept", "*/*") == "*/*"
    assert redactor.redact_header("x-user", "ada") == H_ADA
    assert redactor.redact_header("cookie", "s=1") is None
    assert redactor.redact_header("a", "b") is None


def test_key_is_not_shown() -> None:
    """The key is not in the redactor's text."""
    assert "kkk" not in repr(Redactor.of(KEY, [("/a", "drop")], []))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "m", "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def find_key(document: Any, key: str) -> bool:
    if isinstance(document, dict):
        return key in document or any(find_key(value, key) for value in document.values())
    return isinstance(document, list) and any(find_key(value, key) for value in document)


@given(JSON)
def test_any_depth_means_any_depth(document: Any) -> None:
    """After ``/**/n`` no object anywhere has a member ``n``."""
    assert not find_key(Redactor.of(KEY, [("/**/n", "drop")], []).redact_document(document), "n")
