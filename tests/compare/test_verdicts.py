"""The vocabulary is whole, and verdicts keep what they promise."""

import re
from pathlib import Path

import proxy.compare
from proxy.compare.values import Difference, Undecodable
from proxy.compare.verdicts import (
    DISAGREEMENTS,
    UNCOMPARABLES,
    by_rows,
    confusion_of,
    path_of,
    scores_of,
    shadow_undecodable,
)

ROOM = Path(proxy.compare.__file__).parent


def test_the_gravest_reason_is_said() -> None:
    """Of several rows that part in several ways; the distance is clipped to [0, 1]."""
    said = by_rows("text", [None, "text", "refusal", "length"], 1.0 + 1e-12, [Difference("", "a", "b")])
    assert (said.result, said.reason, said.rows, said.rows_disagreeing, said.distance) == (
        "disagree",
        "refusal",
        4,
        3,
        1.0,
    )
    alike = by_rows("text", [None, None], -1e-12, [Difference("", "a", "b")])
    assert (alike.result, alike.reason, alike.rows, alike.distance, alike.differences) == (
        "agree",
        None,
        2,
        0.0,
        (),
    )


def test_every_reason_is_a_known_word() -> None:
    """What the sources call a reason stands in one of the two vocabularies, and a word has one meaning."""
    text = "\n".join(path.read_text() for path in sorted(ROOM.glob("*.py")))
    disagreements = set(re.findall(r'(?:disagree_whole|_Row|reasons\.append)\(\s*"(\w+)"', text))
    uncomparables = set(re.findall(r'(?:\buncomparable|Undecodable)\(\s*"(\w+)"', text)) - {"status"}
    assert {"format", "rows", "refusal", "top"} <= disagreements <= set(DISAGREEMENTS)
    assert {"truncated", "invalid_json"} <= uncomparables <= set(UNCOMPARABLES)
    assert not set(DISAGREEMENTS) & set(UNCOMPARABLES)
    assert len(DISAGREEMENTS) == len(set(DISAGREEMENTS))


def test_a_shadow_that_cannot_be_read() -> None:
    """Broken for the client too is a disagreement; only for us it is not."""
    assert shadow_undecodable(Undecodable("invalid_json"), "json", 3).rows_disagreeing == 3
    assert shadow_undecodable(Undecodable("cut"), "text", 1).reason == "format"
    assert shadow_undecodable(Undecodable("decoded_too_large"), "json", 3).result == "uncomparable"


def test_only_finite_scores() -> None:
    """JSON has no word for the others."""
    assert scores_of([("a", 1.0), ("b", float("nan")), ("c", float("inf"))]) == (("a", 1.0),)


def test_confusion() -> None:
    """Texts stand as they are, other labels as JSON writes them."""
    assert confusion_of([True, None], ["a", "a"]) == (("true", "a", 1), ("null", "a", 1))


def test_paths() -> None:
    """A tensor's name becomes one segment of a pointer; a pointer stays one."""
    assert (path_of("a/b~c"), path_of("/a/0")) == ("/a~1b~0c", "/a/0")
