"""Two answers → agree, disagree or uncomparable, and how far apart.

Rules
    1. *Disagree* speaks of the client, *uncomparable* of us. What would break or surprise a client who got
       the shadow's answer instead (an error, other JSON, fewer rows, names for numbers) is a disagreement at
       distance 1; what we cannot see (a truncated copy, an unknown coding, a primary without labels) is not.
    2. Whether a pair can be compared never depends on whether it agrees. So identical bytes are only called
       agreement after the primary was found comparable: calling them so at sight would count the equal half
       of answers we cannot read, and drop the other half, and the rate of agreement would be a lie.
    3. The method is a function of the rule and of the primary alone. ``auto`` picks per answer: a regression
       model that happens to answer only whole numbers looks like a classifier, so name the method where the
       model is known.

What each method says

============== ================================================= ==========================================
method         agrees when                                       distance
============== ================================================= ==========================================
exact          bodies are equal after content-decoding           0 or 1
json           no leaf differs beyond tolerance                  share of differing leaves
classification every row has the same label                      mean total variation of probabilities if
                                                                 both answers have them, else share of rows
                                                                 with another label
regression     every value is within tolerance of the primary's  mean relative distance (``tolerance``)
============== ================================================= ==========================================

``auto``: with a ``label`` in the rule, what that names decides; else labels or rows of probabilities →
classification; just one float per row → regression; other JSON → json; anything else → exact.
``classification`` and ``regression`` look at predictions only, in
whichever envelope; ``json`` leaves out the fields of an inference envelope that name the model or the call.

Reasons of disagreement: ``status`` (one is 2xx, the other not), ``format`` (the shadow's is broken, or has
not what the primary has), ``rows``, ``shape``, ``label_type``, and in comparable answers ``bytes``,
``fields``, ``label``, ``tolerance``. Reasons of uncomparable: ``both_failed`` (neither is 2xx: there is no
prediction, and alike or not, errors say nothing about the model), ``truncated``, ``unsupported_encoding``,
``bad_encoding``, ``decoded_too_large``, ``invalid_json``, ``bad_tensor``, ``stream_error``, ``cut``,
``not_json``, ``no_label``, ``no_value``, and ``not_wanted`` where the method is ``none``.
"""

from collections.abc import Sequence
from typing import Final

from proxy.compare.content import decode_content
from proxy.compare.decode import ROW_KEYS, decode_plain
from proxy.compare.documents import differ, render
from proxy.compare.labels import (
    Label,
    Labels,
    find_labels,
    has_labels,
    is_distribution,
    label_family,
    select_tensor,
)
from proxy.compare.pointers import compile_patterns
from proxy.compare.tolerance import compare_numbers
from proxy.compare.values import (
    DECODED_CAP_BYTES,
    DIFFERENCE_LIMIT,
    Answer,
    Comparison,
    ComparisonRule,
    Difference,
    Json,
    Prediction,
    Tensor,
    Undecodable,
)

__all__ = ["compare"]

_IDENTITY: Final = ("/id", "/model_name", "/model_version", "/parameters", "/outputs/*/parameters")
"""Fields of inference envelopes that speak of the model, the call or the encoding: a shadow has its own."""

_GENERATED_IDENTITY: Final = (
    "/id",
    "/created",
    "/created_at",
    "/model",
    "/system_fingerprint",
    "/timings",
    "/choices/*/message/tool_calls/*/id",
    "/output/*/id",
    "/output/*/call_id",
)
"""The same of answers with generated text."""

_HEADERS: Final = ("/outputs/*/name", "/outputs/*/datatype", "/outputs/*/shape")
"""Left out where they are equal: as leaves they would dilute the share of values that differ."""

_VALUE_NAMES: Final = frozenset(
    {"predictions", "prediction", "predict", "value", "output", "output_0", "y", "mean"}
)

_LABELS_SHOWN: Final = 16
"""Labels of one row that a difference spells out."""

_CLIENT_WOULD_BREAK: Final = frozenset({"bad_encoding", "invalid_json", "bad_tensor", "cut", "stream_error"})
"""Failures to decode that a client would meet too; the others are limits of ours."""


def compare(
    rule: ComparisonRule, primary: Answer, shadow: Answer, cap_bytes: int = DECODED_CAP_BYTES
) -> Comparison:
    """Compare a shadow's answer with the one the client got. Never raises, whatever the bytes.

    Args:
        rule: how; see the module for the methods.
        primary: the reference: tolerance is relative to its values.
        shadow: the other.
        cap_bytes: cap of each decoded layer of a compressed body.
    """
    if rule.as_ == "none":
        return _uncomparable("not_wanted", rule.as_)
    primary_ok, shadow_ok = 200 <= primary.status < 300, 200 <= shadow.status < 300
    if not (primary_ok and shadow_ok):
        if primary_ok == shadow_ok:
            return _uncomparable("both_failed", rule.as_)
        difference = Difference("", f"status {primary.status}", f"status {shadow.status}")
        return Comparison("disagree", 1.0, "status", rule.as_, 1, 1, (difference,))
    if primary.truncated or shadow.truncated:
        return _uncomparable("truncated", rule.as_)
    body = decode_content(primary.body, primary.content_encoding, cap_bytes)
    if isinstance(body, Undecodable):
        return _uncomparable(body.reason, rule.as_)
    if primary.body == shadow.body and _is_alike(primary, shadow):
        return _compare_bodies(rule, primary, body, shadow, body, identical=True)
    other = decode_content(shadow.body, shadow.content_encoding, cap_bytes)
    return _compare_bodies(rule, primary, body, shadow, other, identical=False)


def _is_alike(primary: Answer, shadow: Answer) -> bool:
    """Whether the same body means the same in both."""
    return (
        primary.content_type == shadow.content_type
        and primary.content_encoding == shadow.content_encoding
        and primary.inference_header_length == shadow.inference_header_length
    )


def _compare_bodies(
    rule: ComparisonRule,
    primary: Answer,
    body: bytes,
    shadow: Answer,
    other: bytes | Undecodable,
    *,
    identical: bool,
) -> Comparison:
    """Compare two bodies whose content-encoding is undone.

    A shadow that could not be decoded goes along as such: the primary is judged readable or not before it.
    """
    if rule.as_ == "exact":
        return _compare_exact(body, other)
    prediction = decode_plain(body, primary.content_type, primary.inference_header_length)
    if isinstance(prediction, Undecodable):
        return _uncomparable(prediction.reason, rule.as_)
    method = _pick(prediction, rule.label) if rule.as_ == "auto" else rule.as_
    if method == "exact":
        return _compare_exact(body, other)
    second: Prediction | Undecodable
    if identical:
        second = prediction
    elif isinstance(other, Undecodable):
        second = other
    else:
        second = decode_plain(other, shadow.content_type, shadow.inference_header_length)
    if method == "json":
        return _compare_json(rule, prediction, second)
    if method == "classification":
        return _compare_classes(rule, prediction, second)
    return _compare_values(rule, prediction, second)


def _pick(prediction: Prediction, label: str | None) -> str:
    """Return the method that fits what the primary answered; with a ``label``, what that names."""
    if label is not None:
        tensor = select_tensor(prediction, label)
        is_value = tensor is not None and tensor.kind == "float" and not is_distribution(tensor)
        return "regression" if is_value else "classification"
    if not prediction.is_json:
        return "exact"
    if prediction.format == "json" or prediction.completion is not None:
        return "json"
    if has_labels(prediction):
        return "classification"
    tensors = prediction.tensors
    if len(tensors) == 1 and tensors[0].kind == "float" and tensors[0].width == 1:
        return "regression"
    return "json"


def _compare_exact(primary: bytes, shadow: bytes | Undecodable) -> Comparison:
    if isinstance(shadow, Undecodable):
        return _shadow_undecodable(shadow, "exact", 1)
    if primary == shadow:
        return Comparison("agree", 0.0, None, "exact", 1, 0)
    difference = Difference("", f"{len(primary)} bytes", f"{len(shadow)} bytes")
    return Comparison("disagree", 1.0, "bytes", "exact", 1, 1, (difference,))


def _compare_json(rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable) -> Comparison:
    if not primary.is_json:
        return _uncomparable("not_json", "json")
    rows = 1 if primary.rows is None else primary.rows
    if isinstance(shadow, Undecodable):
        return _shadow_undecodable(shadow, "json", rows)
    if not shadow.is_json:
        return _disagree_whole("format", "json", rows, primary.format, shadow.format)
    if primary.rows is not None and shadow.rows is not None and primary.rows != shadow.rows:
        return _disagree_whole("rows", "json", rows, f"{primary.rows} rows", f"{shadow.rows} rows")
    left, right = primary.document, shadow.document
    ignore = rule.ignore + _identity(primary)
    if primary.format == shadow.format == "oip_v2":
        left, right = _align_outputs(primary, shadow)
        if _have_same_headers(left, right):
            ignore += _HEADERS
    found = differ(
        left,
        right,
        patterns=compile_patterns(ignore),
        rtol=rule.rtol,
        atol=rule.atol,
        row_widths=_row_widths(primary, left),
    )
    if not found.differing:
        return Comparison("agree", 0.0, None, "json", rows, 0)
    # A difference outside any row (a name, a datatype) still makes the answer as a whole another one.
    disagreeing = min(rows, len(found.rows) or 1)
    return Comparison(
        "disagree", found.distance, "fields", "json", rows, disagreeing, tuple(found.differences)
    )


def _identity(prediction: Prediction) -> tuple[str, ...]:
    """Return the places that speak of the model, the call or the encoding, where the format says which they are."""
    if prediction.completion is not None:
        return _GENERATED_IDENTITY
    return () if prediction.format in ("json", "csv", "ndjson") else _IDENTITY


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
        lists = [document.get("choices"), document.get("data")]
        return {id(rows): 1 for rows in lists if type(rows) is list}
    return {}


def _compare_classes(
    rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable
) -> Comparison:
    method = "classification"
    first = find_labels(primary, rule.label)
    if first is None:
        return _uncomparable("no_label", method)
    rows = len(first.values)
    if isinstance(shadow, Undecodable):
        return _shadow_undecodable(shadow, method, rows)
    second = first if shadow is primary else find_labels(shadow, rule.label, first.source)
    if second is None:
        return _disagree_whole("format", method, rows, f"labels in {first.source}", "no labels")
    if rows != len(second.values):
        return _disagree_whole("rows", method, rows, f"{rows} rows", f"{len(second.values)} rows")
    distance = _total_variation(first.probabilities, second.probabilities)
    flipped = _flipped(first.values, second.values)
    if not flipped:
        return Comparison("agree", distance or 0.0, None, method, rows, 0)
    families = label_family(first.values), label_family(second.values)
    if {"text", "number"} == set(families):
        return _disagree_whole("label_type", method, rows, *families)
    if distance is None:
        distance = len(flipped) / rows
    differences = _label_differences(first, second, flipped)
    return Comparison("disagree", distance, "label", method, rows, len(flipped), differences)


def _flipped(values: Sequence[Label], others: Sequence[Label]) -> Sequence[int]:
    """Return the rows with another label. NaN is the same label as NaN."""
    if values == others:
        return ()
    return [
        row
        for row, (a, b) in enumerate(zip(values, others, strict=True))
        if a != b and not (a != a and b != b)
    ]


def _label_differences(first: Labels, second: Labels, flipped: Sequence[int]) -> tuple[Difference, ...]:
    prefix = _prefix(first.source)
    return tuple(
        Difference(f"{prefix}/{row}", _render_label(first.values[row]), _render_label(second.values[row]))
        for row in flipped[:DIFFERENCE_LIMIT]
    )


def _render_label(label: Label) -> str:
    if isinstance(label, tuple):
        return f"[{', '.join(map(render, label[:_LABELS_SHOWN]))}]"
    return render(label)


def _total_variation(first: Tensor | None, second: Tensor | None) -> float | None:
    """Return the mean over rows of half the L1 distance; ``None`` unless both sum over the same classes."""
    if first is None or second is None or first.width != second.width or first.rows != second.rows:
        return None
    if first.classes != second.classes:
        return None
    if first is second:
        return 0.0
    total: float = sum([abs(a - b) for a, b in zip(first.data, second.data, strict=True)])
    return min(1.0, 0.5 * total / first.rows)


def _compare_values(
    rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable
) -> Comparison:
    method = "regression"
    first = _find_values(primary, rule.label)
    if first is None:
        return _uncomparable("no_value", method)
    rows = first.rows
    if isinstance(shadow, Undecodable):
        return _shadow_undecodable(shadow, method, rows)
    second = first if shadow is primary else _find_values(shadow, rule.label, first.name)
    if second is None:
        return _disagree_whole("format", method, rows, f"numbers in {first.name}", "no numbers")
    if rows != second.rows:
        return _disagree_whole("rows", method, rows, f"{rows} rows", f"{second.rows} rows")
    if first.width != second.width:
        return _disagree_whole("shape", method, rows, f"{first.width} per row", f"{second.width} per row")
    mask, distance = compare_numbers(second.data, first.data, rule.rtol, rule.atol)
    if all(mask):
        return Comparison("agree", distance, None, method, rows, 0)
    outside = [at for at, close in enumerate(mask) if not close]
    disagreeing = len({at // first.width for at in outside})
    differences = _value_differences(first, second, outside)
    return Comparison("disagree", distance, "tolerance", method, rows, disagreeing, differences)


def _value_differences(first: Tensor, second: Tensor, outside: list[int]) -> tuple[Difference, ...]:
    prefix = _prefix(first.name)
    found = []
    for at in outside[:DIFFERENCE_LIMIT]:
        row, column = divmod(at, first.width)
        place = f"{row}" if first.width == 1 else f"{row}/{column}"
        found.append(Difference(f"{prefix}/{place}", render(first.data[at]), render(second.data[at])))
    return tuple(found)


def _find_values(prediction: Prediction, label: str | None, hint: str | None = None) -> Tensor | None:
    """Return the output that holds the predicted numbers.

    The rule's ``label`` alone counts if there is one. Else the output the primary's came from, one with a
    usual name, the first of floats, the first of integers.
    """
    if label is not None:
        tensor = select_tensor(prediction, label)
        return tensor if tensor is not None and tensor.kind in ("float", "int") else None
    numeric = [tensor for tensor in prediction.tensors if tensor.kind in ("float", "int")]
    if not numeric:
        return None
    return min(
        numeric,
        key=lambda tensor: (
            tensor.name != hint,
            tensor.name.lower() not in _VALUE_NAMES,
            tensor.kind != "float",
        ),
    )


def _prefix(source: str) -> str:
    """Return the path of one output: its pointer, or its name as a segment."""
    return source if source.startswith("/") else "/" + source.replace("~", "~0").replace("/", "~1")


def _uncomparable(reason: str, method: str) -> Comparison:
    return Comparison("uncomparable", None, reason, method, 0, 0)


def _shadow_undecodable(shadow: Undecodable, method: str, rows: int) -> Comparison:
    if shadow.reason in _CLIENT_WOULD_BREAK:
        return _disagree_whole("format", method, rows, "readable", shadow.reason)
    return _uncomparable(shadow.reason, method)


def _disagree_whole(reason: str, method: str, rows: int, primary: str, shadow: str) -> Comparison:
    """Report answers that differ as a whole: every row of the primary's counts."""
    return Comparison("disagree", 1.0, reason, method, rows, rows, (Difference("", primary, shadow),))
