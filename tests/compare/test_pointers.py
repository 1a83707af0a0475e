"""JSON pointers and their globs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.pointers import (
    NO_PATTERNS,
    Patterns,
    advance,
    any_element,
    compile_patterns,
    parse_pointer,
    resolve,
)

IGNORED: dict[str, tuple[str, str, bool]] = {
    "exact": ("/a/b", "/a/b", True),
    "below": ("/a/b", "/a/b/c/0", True),
    "above": ("/a/b", "/a", False),
    "beside": ("/a/b", "/a/c", False),
    "star takes a key": ("/a/*/c", "/a/x/c", True),
    "star takes an index": ("/a/*/c", "/a/12/c", True),
    "star takes just one": ("/a/*/c", "/a/x/y/c", False),
    "star at the end": ("/a/*", "/a/x", True),
    "deep glob takes none": ("/**/ts", "/ts", True),
    "deep glob takes many": ("/**/ts", "/a/0/b/ts", True),
    "deep glob in the middle": ("/a/**/ts", "/a/b/c/ts", True),
    "deep glob keeps its head": ("/a/**/ts", "/b/ts", False),
    "deep glob at the end takes what is below": ("/a/**", "/a/x/y", True),
    "deep glob at the end leaves its parent": ("/a/**", "/a", False),
    "two deep globs": ("/**/a/**/b", "/x/a/y/z/b", True),
    "two deep globs side by side": ("/**/**/b", "/b", True),
    "deep glob then star": ("/**/*/b", "/x/b", True),
    "deep glob then star needs one": ("/**/*/b", "/b", False),
    "deep glob tries again after a false start": ("/**/a/b", "/a/a/b", True),
    "escaped slash": ("/a~1b", "/a~1b", True),
    "escaped tilde": ("/m~0n", "/m~0n", True),
    "empty key": ("/", "/", True),
}


def _ignores(patterns: Patterns, path: str) -> bool:
    for key in parse_pointer(path):
        inner = advance(patterns, key)
        if inner is None:
            return True
        patterns = inner
    return False


@pytest.mark.parametrize("name", IGNORED)
def test_patterns(name: str) -> None:
    """One pattern, one path, one answer."""
    pattern, path, expected = IGNORED[name]
    assert expected is _ignores(compile_patterns((pattern,)), path)


def test_any_of_several_patterns_is_enough() -> None:
    """Patterns are alternatives."""
    patterns = compile_patterns(("/x", "/a/b"))
    assert _ignores(patterns, "/a/b")
    assert _ignores(patterns, "/x")
    assert not _ignores(patterns, "/a/x")


def test_no_patterns_ignore_nothing() -> None:
    """An empty rule compiles to the empty set of patterns."""
    assert compile_patterns(()) == NO_PATTERNS


segments = st.lists(st.sampled_from(["a", "b", "0"]), min_size=1, max_size=6)


@given(segments)
def test_a_pointer_ignores_itself_and_so_do_its_globs(path: list[str]) -> None:
    """The path, the path with any one segment starred, and `**` before its last segment all match it."""
    pointer = "/" + "/".join(path)
    assert _ignores(compile_patterns((pointer,)), pointer)
    for at in range(len(path)):
        starred = [*path[:at], "*", *path[at + 1 :]]
        assert _ignores(compile_patterns(("/" + "/".join(starred),)), pointer)
    assert _ignores(compile_patterns(("/**/" + path[-1],)), pointer)


DOCUMENT: Any = {"rows": [{"class": "cat"}, {"class": "dog"}], "m": {"x": 1, "y": 2}, "a/b": 3, "": 4}

RESOLVED: dict[str, tuple[str, Any]] = {
    "key": ("/m/x", 1),
    "index": ("/rows/1/class", "dog"),
    "star over a list": ("/rows/*/class", ["cat", "dog"]),
    "star over an object": ("/m/*", [1, 2]),
    "escaped": ("/a~1b", 3),
    "empty key": ("/", 4),
}


@pytest.mark.parametrize("name", RESOLVED)
def test_resolve(name: str) -> None:
    """A pointer finds its value, a star one per element."""
    pointer, expected = RESOLVED[name]
    assert expected == resolve(DOCUMENT, pointer)


@pytest.mark.parametrize("pointer", ["/no", "/rows/2", "/rows/x", "/rows/-1", "/rows/²", "/m/x/y", "/a~1b/*"])
def test_a_pointer_to_nothing_is_a_key_error(pointer: str) -> None:
    """Whatever goes wrong on the way is one exception."""
    with pytest.raises(KeyError):
        resolve(DOCUMENT, pointer)


PARTS = st.sampled_from(["*", "**", "a", "0", "7", "12"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3), max_size=4))
def test_what_says_that_no_element_is_ignored_is_right(pointers: list[list[str]]) -> None:
    """Where no pattern can match an element, no index is ignored; where one can, some index is."""
    patterns = compile_patterns(tuple("/" + "/".join(parts) for parts in pointers))
    assert any_element(patterns) is any(advance(patterns, str(index)) is None for index in range(20))
