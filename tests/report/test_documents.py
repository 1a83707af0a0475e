"""What is read from a proxy, which may be of another version, or no proxy at all."""

from math import inf
from typing import Any

import pytest

from proxy.report.documents import DocumentError, Rollout
from tests.report.told import bad_rollout


def test_nothing_is_lost() -> None:
    """What a proxy tells is read as it is; null is infinite on its own side."""
    document = bad_rollout().document()
    read = Rollout.read(document)
    assert [each.raw for each in read.decisions] == [each["decision"] for each in document["decisions"]]
    assert read.points[-1].guardrails["errors"].harm > 2
    empty = Rollout.read(
        {"rollout": "r", "points": [{"now_ns": 1, "guardrails": {"errors": {"high": None, "harm": None}}}]}
    )
    found = empty.points[0].guardrails["errors"]
    assert (found.high, found.harm) == (inf, -inf)


def test_a_later_version() -> None:
    """What is new is left out."""
    assert (
        Rollout.read({"rollout": "r", "novelty": {"a": 1}, "epochs": [{"epoch": "e", "novelty": 2}]}).rollout
        == "r"
    )


WRONG: list[tuple[Any, str]] = [
    (None, "got something else"),
    ([], "got something else"),
    ({}, "rollout: field required"),
    ({"rollout": 7}, "rollout: input should be a valid string"),
    ({"rollout": "r", "decisions": [{"number": 1}]}, "decisions.0.rollout"),
    ({"rollout": "r", "decisions": ["x"]}, "decisions.0"),
    ({"rollout": "r", "epochs": [{"epoch": "e", "variants": [{"name": "v"}]}]}, "epochs.0.variants.0.share"),
]


@pytest.mark.parametrize(("document", "sentence"), WRONG)
def test_what_is_no_evidence(document: Any, sentence: str) -> None:
    """It is refused with the place that is wrong."""
    with pytest.raises(DocumentError, match=sentence):
        Rollout.read(document)
