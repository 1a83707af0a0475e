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
       model is known. The comparison says which it was.

What each method says

============== ================================================= ==========================================
method         agrees when                                       distance
============== ================================================= ==========================================
exact          bodies are equal after content-decoding           0 or 1
json           no leaf differs beyond tolerance                  share of differing leaves
classification every row has the same label                      mean cost of the labels if the rule has
                                                                 costs, else mean total variation of
                                                                 probabilities if both answers have them,
                                                                 else share of rows with another label
probabilities  every row has the same first class and side of    mean total variation
               the threshold, and is within tolerance
regression     every value is within tolerance of the other      mean relative or scaled distance
tensor         names, shapes, datatypes and NaN are the same,    share of values out of tolerance
               and every row's values within tolerance
ranking        every row has the same top and the same first k   1 - RBO
detection      every box of every image has its like             1 - mean IoU
text           every text is as good as the same, and tool       1 - chrF2/100
               calls, form and refusal are
embedding      every row points in the same direction            1 - cosine, at most 1
============== ================================================= ==========================================

Each is described, with its defaults, in the module that judges it. A row disagrees or not by itself; an answer
disagrees when one of its rows does. Reasons are the words of ``verdicts``.

``json`` of ``auto`` leaves out what speaks of the call (``identities``).

``auto``: where the rule names a place (``at``, ``label``), what stands there decides between regression and
classification. Else, in this order: a completion, plain text or texts too long for labels → text (images and pickles in
their place → tensor); boxes, or what a text names → detection; an embedding, also a sparse one → embedding; what was
reranked → ranking; labels or rows of probabilities → classification (probabilities where the rule has a ``threshold``
and the answer has them; of other JSON only if it holds nothing else); just one float per row → regression; other
tensors of the Open Inference Protocol → tensor (json where the rule has ``ignore``, which speaks of documents); other
JSON → json; anything else → exact.
"""

from typing import Any, Final

from proxy.compare.boxes import IMAGES, has_boxes
from proxy.compare.classes import CLASSES, PROBABILITIES, find_chances
from proxy.compare.content import decode_content
from proxy.compare.decode import decode_plain, read_assembled
from proxy.compare.judge import Judge
from proxy.compare.labels import (
    are_blobs,
    are_texts,
    has_labels,
    is_classified,
    is_distribution,
    select_tensor,
)
from proxy.compare.numbers import NUMBERS
from proxy.compare.outputs import OUTPUTS
from proxy.compare.plain import is_plain
from proxy.compare.predictions import predicted_alone, predictions_of
from proxy.compare.rankings import RANKINGS, find_reranked
from proxy.compare.rules import ComparisonRule
from proxy.compare.texts import TEXTS
from proxy.compare.trees import DOCUMENTS, compare_bytes
from proxy.compare.values import (
    DECODED_CAP_BYTES,
    Answer,
    Comparison,
    Difference,
    Format,
    Predicted,
    Prediction,
    Read,
    Undecodable,
)
from proxy.compare.vectors import EMBEDDING_NAMES, EMBEDDINGS, are_directions, find_sparse
from proxy.compare.verdicts import uncomparable

__all__ = ["JUDGES", "compare"]

JUDGES: Final[tuple[Judge[Any], ...]] = (
    DOCUMENTS,
    CLASSES,
    PROBABILITIES,
    NUMBERS,
    OUTPUTS,
    RANKINGS,
    IMAGES,
    TEXTS,
    EMBEDDINGS,
)
_COMPARE: Final = {judge.method: judge.compare for judge in JUDGES}


def compare(
    rule: ComparisonRule, primary: Answer, shadow: Answer, cap_bytes: int = DECODED_CAP_BYTES
) -> Comparison:
    """Compare a shadow's answer with the one the client got. Never raises, whatever the bytes.

    Args:
        rule: how; see the module for the methods.
        primary: the reference.
        shadow: the other.
        cap_bytes: cap of each decoded layer of a compressed body.
    """
    if rule.as_ == "none":
        return uncomparable("not_wanted", rule.as_)
    primary_ok, shadow_ok = 200 <= primary.status < 300, 200 <= shadow.status < 300
    if not (primary_ok and shadow_ok):
        if primary_ok == shadow_ok:
            return uncomparable("both_failed", rule.as_)
        difference = Difference("", f"status {primary.status}", f"status {shadow.status}")
        read = Read(None, None, (0,))
        comparison = Comparison("disagree", 1.0, "status", rule.as_, 1, 1, (difference,), read=read)
        if rule.keeps_predictions:
            predicted = _predicted_alone(rule, primary, shadow, cap_bytes)
            comparison = comparison._replace(predicted=predicted)
        return comparison
    if primary.truncated or shadow.truncated:
        return uncomparable("truncated", rule.as_)
    body = decode_content(primary.body, primary.content_encoding, cap_bytes)
    if isinstance(body, Undecodable):
        return uncomparable(body.reason, rule.as_)
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
        and primary.is_assembled == shadow.is_assembled
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
        if primary.is_assembled or shadow.is_assembled:
            return uncomparable("assembled", rule.as_)
        return compare_bytes(body, other)
    prediction = _decoded(primary, body)
    if isinstance(prediction, Undecodable):
        return uncomparable(prediction.reason, rule.as_)
    method = _pick(rule, prediction) if rule.as_ == "auto" else rule.as_
    if method == "exact":
        return compare_bytes(body, other)
    second: Prediction | Undecodable
    if identical:
        second = prediction
    elif isinstance(other, Undecodable):
        second = other
    else:
        second = _decoded(shadow, other)
    comparison = _COMPARE[method](rule, prediction, second)
    if rule.keeps_predictions and comparison.result != "uncomparable":
        return comparison._replace(predicted=predictions_of(rule, comparison))
    return comparison


def _decoded(answer: Answer, body: bytes) -> Prediction | Undecodable:
    if answer.is_assembled:
        return read_assembled(body)
    return decode_plain(body, answer.content_type, answer.inference_header_length)


def _predicted_alone(
    rule: ComparisonRule, primary: Answer, shadow: Answer, cap_bytes: int
) -> Predicted | None:
    """Return what was predicted where only one of two answers is 2xx."""
    is_primary = 200 <= primary.status < 300
    answer = primary if is_primary else shadow
    if answer.truncated:
        return None
    body = decode_content(answer.body, answer.content_encoding, cap_bytes)
    if isinstance(body, Undecodable):
        return None
    prediction = _decoded(answer, body)
    if isinstance(prediction, Undecodable):
        return None
    method = _pick(rule, prediction) if rule.as_ == "auto" else rule.as_
    found = predicted_alone(rule, method, prediction)
    if found is None or is_primary:
        return found
    return Predicted(None, found.primary, found.is_number)


def _pick(rule: ComparisonRule, prediction: Prediction) -> str:
    """Return the method that fits what the primary answered."""
    place = rule.place
    if place is not None:
        tensor = select_tensor(prediction, place)
        is_value = tensor is not None and tensor.kind == "float" and not is_distribution(tensor)
        return "regression" if is_value else "classification"
    if prediction.completion is not None or prediction.format == "text":
        return "text"
    format_, tensors = prediction.format, prediction.tensors
    if format_ == "bytes":
        return "exact"
    if format_ == "json" and is_plain(prediction):
        return "json"
    if len(tensors) == 1 and are_texts(tensors[0]) and format_ != "json":
        return "text" if not are_blobs(tensors[0]) else _pick_of_outputs(rule, format_)
    if format_ != "json" and len(tensors) == 1 and tensors[0].kind != "float" and has_labels(prediction):
        return "classification"  # most answers are one column of labels
    return _pick_by_tensors(rule, prediction)


def _pick_by_tensors(rule: ComparisonRule, prediction: Prediction) -> str:
    tensors = prediction.tensors
    if has_boxes(prediction):
        return "detection"
    is_float = len(tensors) == 1 and tensors[0].kind == "float"
    if (
        is_float
        and tensors[0].width > 1
        and (tensors[0].name in EMBEDDING_NAMES or are_directions(tensors[0]))
    ):
        return "embedding"
    if find_sparse(prediction) is not None:
        return "embedding"
    if find_reranked(prediction) is not None:
        return "ranking"
    if prediction.format == "json":
        return "classification" if is_classified(prediction) else "json"
    if rule.threshold is not None and find_chances(rule, prediction) is not None:
        return "probabilities"
    if has_labels(prediction):
        return "classification"
    if is_float and tensors[0].width == 1:
        return "regression"
    return _pick_of_outputs(rule, prediction.format)


def _pick_of_outputs(rule: ComparisonRule, format_: Format) -> str:
    return "tensor" if format_ == "oip_v2" and not rule.ignore else "json"
