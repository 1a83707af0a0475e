"""What services say of each text they were given → tensors, a row for each.

=============== ========================================================================================
vLLM, score     ``{"object": "list", "data": [{"index", "object": "score", "score"}]}``
vLLM, classify  ``{"object": "list", "data": [{"index", "label", "probs", "num_classes"}]}``
SGLang, score   ``{"object": "scoring", "scores": [[probability, …], …]}``
moderation      ``{"results": [{"flagged", "categories": {name: is}, "category_scores"}]}``: what is met
images          ``{"created", "data": [{"b64_json"}]}``, which are compared as they are
=============== ========================================================================================
"""

from typing import Final, NamedTuple

from proxy.compare.tensors import tensor_of, tensors_of_columns
from proxy.compare.values import Json, Tensor

__all__ = ["GRADED_SIGNS", "Graded", "are_links", "read_graded"]

GRADED_SIGNS: Final = frozenset({"data", "results", "scores"})
"""Members without any of which a document is no such answer."""

_SCORE: Final = frozenset({"index", "object", "score"})
_CLASS: Final = frozenset({"index", "label", "probs", "num_classes"})
_IMAGE: Final = frozenset({"b64_json", "url", "revised_prompt"})
_MODERATED: Final = frozenset({"flagged", "categories", "category_scores"})
_NOTHING: Final = "none"


class Graded(NamedTuple):
    """What was said of each."""

    tensors: tuple[Tensor, ...]
    rows: int


def read_graded(document: Json) -> Graded | None:
    """Return what is said of each input, ``None`` for anything else."""
    if type(document) is not dict:
        return None
    if document.get("object") == "scoring":
        scores = tensor_of(document.get("scores"), "scores")
        return None if scores is None or scores.kind != "float" else Graded((scores,), scores.rows)
    listed = document.get("data", document.get("results"))
    if type(listed) is not list or not listed or any(type(row) is not dict for row in listed):
        return None
    return _of_rows(document, listed)


def _of_rows(document: dict[str, Json], listed: list[dict[str, Json]]) -> Graded | None:
    keys = listed[0].keys()
    if (
        document.get("object") == "list"
        and keys == _SCORE
        and all(row.get("object") == "score" for row in listed)
    ):
        return _columns(listed, "score")
    if document.get("object") == "list" and keys == _CLASS:
        return _columns(listed, "label", "probs")
    if keys >= _MODERATED:
        return _moderated(listed)
    if "created" in document and all(
        row.keys() <= _IMAGE and row.keys() & {"b64_json", "url"} for row in listed
    ):
        return Graded((), len(listed))
    return None


def are_links(document: Json) -> bool:
    """Whether an answer has no images but links to them, which every call has its own of."""
    listed = document.get("data") if type(document) is dict else None
    return type(listed) is list and any(
        type(row) is dict and type(row.get("url")) is str and not row.get("b64_json") for row in listed
    )


def _columns(listed: list[dict[str, Json]], *names: str) -> Graded | None:
    if any(row.keys() != listed[0].keys() for row in listed):
        return None
    numbers = [row["index"] for row in listed]
    if any(type(number) is not int for number in numbers):
        return None
    rows = sorted(listed, key=lambda row: row["index"])
    tensors = tensors_of_columns({name: [row[name] for row in rows] for name in names})
    return Graded(tensors, len(listed)) if tensors else None


def _moderated(listed: list[dict[str, Json]]) -> Graded | None:
    """Read the categories that are met by each as its label, as a change of any of them is one of the answer, and
    whether it is flagged where that does not follow from them."""
    labels: list[Json] = []
    for row in listed:
        met = row.get("categories")
        if type(met) is not dict or type(row.get("flagged")) is not bool:
            return None
        words = sorted(name for name, is_met in met.items() if is_met is True)
        if row["flagged"] is not bool(words):
            words.append("flagged" if row["flagged"] else "not flagged")
        labels.append(", ".join(words or [_NOTHING]))
    return Graded(tensors_of_columns({"label": labels}), len(listed))
