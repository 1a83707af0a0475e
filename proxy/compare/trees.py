"""Documents: the methods ``json`` and ``exact``.

``json`` compares leaf by leaf and leaves out the rule's ``ignore``, of an inference envelope the fields that name
the model or the call; where ``auto`` picked it, of other documents what can be nothing else (``identities``). Two
integers are equal or not unless the rule has a tolerance: next to a large one, its neighbour is another item.
"""

from typing import Final, NamedTuple

from proxy.compare.decode import ROW_KEYS
from proxy.compare.documents import differ
from proxy.compare.graded import are_links
from proxy.compare.identities import find_identities
from proxy.compare.judge import Judge
from proxy.compare.pointers import compile_patterns
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import (
    Comparison,
    Difference,
    Json,
    Prediction,
    Read,
    Undecodable,
)
from proxy.compare.verdicts import disagree_whole, shadow_undecodable
from proxy.plural import count

__all__ = ["ATOL", "DOCUMENTS", "RTOL", "compare_bytes"]

RTOL: Final = 1e-5
ATOL: Final = 1e-8
"""Tolerances of numbers in documents where the rule names none."""

_IDENTITY: Final = (
    *("/id", "/model_name", "/model_version", "/parameters", "/outputs/*/parameters"),
    *("/modelSpec", "/model_spec"),  # TensorFlow Serving's, beside tensors
)
"""Fields of inference envelopes that speak of the model, the call or the encoding: a shadow has its own."""

_GENERATED_IDENTITY: Final = (
    "/id",
    "/created",
    "/created_at",
    "/model",
    "/system_fingerprint",
    "/timings",
    "/usage",
    "/choices/*/message/tool_calls/*/id",
    "/output/*/id",
    "/output/*/call_id",
)
"""The same of answers with generated text."""

_VERTEX_IDENTITY: Final = (
    "/deployedModelId",
    "/metadata",
    "/model",
    "/modelDisplayName",
    "/modelVersionId",
)
"""The same of Vertex AI's, beside ``predictions``."""

_AGREED: Final = Read(None, None, ())

_HEADERS: Final = ("/outputs/*/name", "/outputs/*/datatype", "/outputs/*/shape")
"""Left out where they are equal: as leaves they would dilute the share of values that differ."""


def compare_bytes(primary: bytes, shadow: bytes | Undecodable) -> Comparison:
    """Compare two bodies byte by byte."""
    if isinstance(shadow, Undecodable):
        return shadow_undecodable(shadow, "exact", 1)
    if primary == shadow:
        return Comparison("agree", 0.0, None, "exact", 1, 0, read=_AGREED)
    difference = Difference("", count(len(primary), "byte"), count(len(shadow), "byte"))
    return Comparison("disagree", 1.0, "bytes", "exact", 1, 1, (difference,), read=Read(None, None, (0,)))


class _Document(NamedTuple):
    """A whole answer that is JSON."""

    prediction: Prediction
    is_linked: bool = False
    """What was made stands behind a link, of its own for every call."""
    source: str = ""

    @property
    def rows(self) -> int:
        """How many rows there are, 1 where the answer does not tell."""
        return 1 if self.prediction.rows is None else self.prediction.rows


def _find_document(
    rule: ComparisonRule, prediction: Prediction, _beside: _Document | None = None
) -> _Document | None:
    if not prediction.is_json:
        return None
    is_linked = prediction.format == "openai" and rule.as_ == "auto" and are_links(prediction.document)
    return _Document(prediction, is_linked)


def _refuse_links(document: _Document) -> str | None:
    return "linked" if document.is_linked else None


def _judge_documents(rule: ComparisonRule, first: _Document, second: _Document) -> Comparison:
    """Compare two documents leaf by leaf."""
    rows, primary, shadow = first.rows, first.prediction, second.prediction
    if primary.rows is not None and shadow.rows is not None and primary.rows != shadow.rows:
        return disagree_whole(
            "rows", "json", rows, count(primary.rows, "row"), count(shadow.rows, "row"), first
        )
    left, right = primary.document, shadow.document
    ignore = rule.ignore + _identity(primary)
    if rule.as_ == "auto" and primary.format != "oip_v2":
        ignore += find_identities(primary.document, shadow.document)
    if primary.format == shadow.format == "oip_v2":
        left, right = _align_outputs(primary, shadow)
        if _have_same_headers(left, right):
            ignore += _HEADERS
    found = differ(
        left,
        right,
        patterns=compile_patterns(ignore),
        rtol=RTOL if rule.rtol is None else rule.rtol,
        atol=ATOL if rule.atol is None else rule.atol,
        row_widths=_row_widths(primary, left),
        has_exact_integers=rule.rtol is None and rule.atol is None,
    )
    if not found.differing:
        return Comparison("agree", 0.0, None, "json", rows, 0, read=_AGREED)
    # A difference outside any row (a name, a datatype) still makes the answer as a whole another one.
    disagreeing = min(rows, len(found.rows) or 1)
    wrong = sorted(row for row in found.rows if row < rows) if rows > 1 else [0][:rows]
    return Comparison(
        "disagree",
        found.distance,
        "fields",
        "json",
        rows,
        disagreeing,
        tuple(found.differences),
        read=Read(None, None, wrong) if len(wrong) == disagreeing else None,
    )


def _identity(prediction: Prediction) -> tuple[str, ...]:
    """Return the places that speak of the model, the call or the encoding, where the format says which they are."""
    if prediction.format == "oip_v2":
        return _IDENTITY
    if prediction.completion is not None or prediction.format == "openai":
        return _GENERATED_IDENTITY
    return _IDENTITY + _VERTEX_IDENTITY if prediction.format == "v1" else ()


def _align_outputs(primary: Prediction, shadow: Prediction) -> tuple[Json, Json]:
    """Flatten the data of both, and put the shadow's outputs in the primary's order if they have its names.

    The protocol gives neither nesting nor order a meaning, so neither is a difference.
    """
    outputs = _flat_outputs(primary)
    others = _flat_outputs(shadow)
    order = {output["name"]: at for at, output in enumerate(outputs)}
    if len(order) == len(outputs) and order.keys() == {output["name"] for output in others}:
        others.sort(key=lambda output: order[output["name"]])
    return {**primary.document, "outputs": outputs}, {**shadow.document, "outputs": others}


def _have_same_headers(left: Json, right: Json) -> bool:
    """Whether the outputs are called, typed and shaped alike, so that only their data can differ."""
    outputs, others = left["outputs"], right["outputs"]
    return len(outputs) == len(others) and all(
        a["name"] == b["name"] and a["datatype"] == b["datatype"] and a["shape"] == b["shape"]
        for a, b in zip(outputs, others, strict=True)
    )


def _flat_outputs(prediction: Prediction) -> list[Json]:
    return [
        {**output, "data": tensor.data}
        for output, tensor in zip(prediction.document["outputs"], prediction.tensors, strict=True)
    ]


def _row_widths(primary: Prediction, document: Json) -> dict[int, int]:
    """Say which lists of the primary's document hold rows, and how many values make one."""
    if primary.format == "oip_v2":
        return {
            id(output["data"]): tensor.width
            for output, tensor in zip(document["outputs"], primary.tensors, strict=True)
        }
    if primary.format == "v1":
        outputs = document.get("outputs")
        columns = outputs.values() if type(outputs) is dict else (outputs,)
        named = document.get("predictions")
        lists = [*columns, *map(document.get, ROW_KEYS), *(named.values() if type(named) is dict else ())]
        return {id(rows): 1 for rows in lists if type(rows) is list}
    if primary.format in ("csv", "ndjson"):
        return {id(document): 1}
    if primary.format == "openai":
        lists = [document.get("choices"), document.get("data"), document.get("results")]
        return {id(rows): 1 for rows in lists if type(rows) is list}
    return {}


DOCUMENTS: Final = Judge(
    "json", "documents", "not_json", _find_document, _judge_documents, noun="", refuse=_refuse_links
)
