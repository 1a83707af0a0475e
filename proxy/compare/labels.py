"""Tensors → one label per row, and class probabilities where there are any.

Conventions, first that applies (a ``label`` in the rule replaces them):

1. an integer, boolean or BYTES output with one value per row: the label itself. Of several, one with a name
   such as ``label`` or ``predict``, else the first. BYTES that hold JSON objects (MLServer's Hugging Face
   runtime) are read as objects; ``score:index[:name]`` strings (Triton's classification extension) as the
   index.
2. class names beside scores of the same shape: the name at the highest score.
3. a float output with several values per row: the index (or the name, if columns have names) of the highest;
   the first of equals, as numpy has it.

Only when a rule says ``classification``: a float output with one value per row is the label if every value is
a whole number (tree libraries answer so), else, within [0, 1], the probability of class 1 against class 0.

Models of one route are taken to number their classes alike.
"""

import re
from collections.abc import Sequence
from math import isnan
from typing import Any, Final, NamedTuple, TypeAlias

from proxy.compare.content import parse_json
from proxy.compare.documents import render
from proxy.compare.pointers import resolve
from proxy.compare.rules import ComparisonRule
from proxy.compare.scored import LABEL_KEYS, SCORE_KEYS, read_best
from proxy.compare.tensors import tensor_of, tensors_of_rows
from proxy.compare.values import Json, Prediction, Tensor, Undecodable

__all__ = [
    "CLASSIFIED_NAMES",
    "Label",
    "Labels",
    "are_blobs",
    "are_texts",
    "find_labels",
    "has_labels",
    "is_classified",
    "is_distribution",
    "label_family",
    "render_label",
    "select_tensor",
]

Label: TypeAlias = str | int | float | bool | tuple[Json, ...] | None

_LABEL_NAMES: Final = frozenset(
    {
        "label",
        "labels",
        "output_label",
        "predicted_label",
        "class",
        "classes",
        "class_id",
        "predicted_class",
        "predict",
        "prediction",
        "predictions",
        "displaynames",  # Vertex AI's
    }
)
_FLOAT_LABEL_NAMES: Final = frozenset({"label", "predicted_label", "class", "class_id", "predicted_class"})
"""Names under which a whole number is a label even if it is written as a float, as SageMaker's algorithms do."""
CLASSIFIED_NAMES: Final = _LABEL_NAMES | set(LABEL_KEYS)
"""What a class is called in a document that holds a class for each row, and its score."""
_SCORE_NAMES: Final = {*SCORE_KEYS, "scores", "probabilities", "predict_proba", "proba"}

_TEXT_NAMES: Final = frozenset(
    {"text_output", "generated_text", "output_text", "summary_text", "translation_text"}
)
_LABEL_LENGTH: Final = 64
"""Characters from which a text is no label."""

_DISTRIBUTION_TOLERANCE: Final = 1e-3
"""How far a row of probabilities may be from summing to 1: FP16 and rounded JSON are that far off."""

_TRITON_CLASS: Final = re.compile(r"-?\d+\.\d+:(\d{1,18})(?::.*)?", re.ASCII | re.DOTALL)
"""`<score>:<index>[:<name>]`: Triton's classification extension. The score must not make labels differ.
Its scores have a decimal point; a label like ``12:30`` is not taken for one."""

_NAN: Final = float("nan")

_LABELS_SHOWN: Final = 16
"""Labels of one row that are spelt out."""


class Labels(NamedTuple):
    """What a classifier decided."""

    source: str
    """Tensor or pointer the labels came from."""
    values: Sequence[Label]
    """One per row; a tuple where a row has several; NaN where the scores of a row hold a NaN."""
    probabilities: Tensor | None
    """(rows, classes), each row a distribution; ``None`` if the answer has none."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.values)


def find_labels(rule: ComparisonRule, prediction: Prediction, beside: Labels | None = None) -> Labels | None:
    """Return the label of every row, ``None`` when the answer has none.

    Args:
        rule: with a place in it, no convention is tried.
        prediction: the decoded answer.
        beside: the primary's labels; the output that they came from is taken when this answer has it too.
    """
    tensors = prediction.tensors
    if rule.place is not None:
        tensor = select_tensor(prediction, rule.place)
        return None if tensor is None else _labels_of(tensor, tensors)
    if prediction.format == "json" and rule.as_ == "classification":
        rows = prediction.document if type(prediction.document) is list else [prediction.document]
        if (best := read_best(rows)) is not None:
            return Labels("label", best, None)
    if beside is not None:
        for tensor in tensors:
            if tensor.name == beside.source:
                if tensor.width > 1 and tensor.kind == "int" and _are_scores(beside):
                    tensor = tensor._replace(kind="float")  # some write probabilities of 0 and 1 as integers
                return _labels_of(tensor, tensors) or _by_convention(tensors)
    found = _by_convention(tensors)
    if beside is not None and found is not None and _is_guess(found, tensors) and not _are_scores(beside):
        return None  # a probability stands in the place of no class
    return found


def _are_scores(labels: Labels) -> bool:
    """Whether labels were made of the probabilities themselves."""
    return labels.probabilities is not None and labels.probabilities.name == labels.source


def _is_guess(labels: Labels, tensors: Sequence[Tensor]) -> bool:
    """Whether labels were made of a single probability per row."""
    return _are_scores(labels) and any(
        tensor.name == labels.source and tensor.width == 1 for tensor in tensors
    )


def has_labels(prediction: Prediction) -> bool:
    """Whether an answer shows by itself that it is a classifier's.

    It does with an output that has a label's name; with just one that can be a label, if that is the whole
    answer or the protocol says it is an output (any key of a JSON row may hold an integer); with class names
    beside scores; with rows of probabilities.
    """
    tensors = prediction.tensors
    narrow = [tensor for tensor in tensors if _is_column_of_labels(tensor)]
    if len(narrow) == 1 and (len(tensors) == 1 or prediction.format == "oip_v2"):
        return True
    if any(tensor.name.lower() in _LABEL_NAMES for tensor in narrow):
        return True
    return any(is_distribution(tensor) or _best_classes(tensor, tensors) is not None for tensor in tensors)


def is_classified(prediction: Prediction) -> bool:
    """Whether a document is a class for each row and its score, and nothing else: then only the class counts."""
    document, tensors = prediction.document, prediction.tensors
    labels = {tensor.name for tensor in tensors if _is_column_of_labels(tensor)}
    others = [tensor for tensor in tensors if tensor.name in _SCORE_NAMES and tensor.kind == "float"]
    # The number of a class says the same as its name.
    if not labels <= CLASSIFIED_NAMES or len(labels - {"class_id"} or labels) != 1 or not others:
        return False
    if len(labels) + len(others) < len(tensors):
        return False
    row = document[0] if type(document) is list else document
    return others[0].classes is not None or (type(row) is dict and len(row) == len(tensors))


def are_texts(tensor: Tensor) -> bool:
    """Whether a column of BYTES holds what a model wrote, by its name or because no label is as long."""
    if tensor.kind != "bytes" or tensor.width != 1:
        return False
    return tensor.name in _TEXT_NAMES or any(
        (len(text) > _LABEL_LENGTH or "\n" in text) and text[:1] not in ("{", "[") for text in tensor.data
    )


def are_blobs(tensor: Tensor) -> bool:
    """Whether one of the BYTES that `are_texts` says are no labels is no text either: an image, a pickle."""
    return any(map(_CONTROL.search, tensor.data))


_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""What no text has, but for white space and the escape sequences of a terminal."""


def _is_column_of_labels(tensor: Tensor) -> bool:
    if tensor.width != 1:
        return False
    return tensor.kind != "float" or (
        tensor.name in _FLOAT_LABEL_NAMES
        and bool(tensor.data)
        and all(float(value).is_integer() for value in tensor.data)
    )


def select_tensor(prediction: Prediction, label: str) -> Tensor | None:
    """Return what a rule's ``label`` names: a tensor, or the values behind a JSON pointer as one."""
    if not label.startswith("/"):
        return next((tensor for tensor in prediction.tensors if tensor.name == label), None)
    if not prediction.is_json:
        return None
    try:
        return tensor_of(resolve(prediction.document, label), label)
    except KeyError:
        return None


def is_distribution(tensor: Tensor) -> bool:
    """Whether every row is a probability vector over two or more classes."""
    width, data = tensor.width, tensor.data
    if tensor.kind != "float" or width < 2 or not data or not _is_matrix(tensor):
        return False
    if min(data) < 0.0 or max(data) > 1.0:
        return False
    # A NaN may slip through min and max, but not through the sum.
    if len(data) == width:
        return abs(sum(data) - 1.0) <= _DISTRIBUTION_TOLERANCE
    return all(
        abs(sum(data[at : at + width]) - 1.0) <= _DISTRIBUTION_TOLERANCE for at in range(0, len(data), width)
    )


def label_family(values: Sequence[Label]) -> str:
    """Return ``text``, ``number`` or ``mixed``: labels of different families can never be equal."""
    families = {_family(value) for value in values if value is not None}
    return families.pop() if len(families) == 1 else "mixed" if families else ""


def render_label(label: Label) -> str:
    """Return a short text of a label, or of the several of one row."""
    if isinstance(label, tuple):
        return f"[{', '.join(map(render, label[:_LABELS_SHOWN]))}]"
    return render(label)


def _family(value: Label) -> str:
    if isinstance(value, tuple):
        return label_family(value)
    return "text" if isinstance(value, str) else "number"


def _by_convention(tensors: Sequence[Tensor]) -> Labels | None:
    first: Tensor | None = None
    for tensor in tensors:
        if _is_column_of_labels(tensor):
            if tensor.name.lower() in _LABEL_NAMES:
                return _labels_of(tensor, tensors)
            first = first or tensor
    if first is not None:
        return _labels_of(first, tensors)
    for tensor in sorted(tensors, key=lambda tensor: _rank(tensor, tensors)):
        if (labels := _labels_of(tensor, tensors)) is not None:
            return labels
    return None


def _rank(tensor: Tensor, tensors: Sequence[Tensor]) -> int:
    """Order outputs without a plain label by how surely they tell the class."""
    if _best_classes(tensor, tensors) is not None:
        return 1 if tensor.name == "ids" else 0  # Vertex AI's, of each model its own
    if is_distribution(tensor):
        return 2
    if tensor.kind != "float":
        return 3
    return 4 if tensor.width > 1 else 5


def _labels_of(tensor: Tensor, tensors: Sequence[Tensor]) -> Labels | None:
    """Read one output as labels."""
    width, data = tensor.width, tensor.data
    if tensor.kind == "float":
        return _labels_of_scores(tensor) if width > 1 else _labels_of_floats(tensor, tensors)
    if width == 1:
        if tensor.kind == "bytes" and data and (special := _labels_in_text(tensor)) is not None:
            return special
        return Labels(tensor.name, data, _distribution(tensors, tensor.rows))
    if width == 0:
        return None
    values = _best_classes(tensor, tensors)
    if values is None:
        values = [tuple(data[at : at + width]) for at in range(0, len(data), width)]
    return Labels(tensor.name, values, None)


def _labels_of_scores(tensor: Tensor) -> Labels | None:
    """Read the highest of several scores per row."""
    if not _is_matrix(tensor):
        return None
    columns = _argmax(tensor)
    names = tensor.classes
    values = columns if names is None else [_NAN if column is _NAN else names[column] for column in columns]
    return Labels(tensor.name, values, tensor if is_distribution(tensor) else None)


def _labels_of_floats(tensor: Tensor, tensors: Sequence[Tensor]) -> Labels | None:
    """Read one float per row: a label written as float, or the probability of class 1."""
    data = tensor.data
    if tensor.width != 1:
        return None
    if all(float(value).is_integer() for value in data):
        return Labels(tensor.name, data, _distribution(tensors, tensor.rows))
    if all(0.0 <= value <= 1.0 for value in data):
        both = [part for value in data for part in (1.0 - value, value)]
        probabilities = Tensor(tensor.name, "FP64", "float", (tensor.rows, 2), both, tensor.rows, 2)
        return Labels(tensor.name, [int(value > 0.5) for value in data], probabilities)
    return None


def _best_classes(tensor: Tensor, tensors: Sequence[Tensor]) -> list[Label] | None:
    """Return the class at the highest score of each row, where a row names several classes with scores.

    Only for names: among integers, class ids cannot be told from the flags of a multi-label answer.
    """
    width, data = tensor.width, tensor.data
    if tensor.kind != "bytes" or width < 2 or not data:
        return None
    matches = [_TRITON_CLASS.fullmatch(text) for text in data[::width]]  # best first, as Triton sorts them
    if all(matches):
        return [int(match[1]) for match in matches if match]
    for scores in tensors:
        if scores.kind == "float" and scores.shape == tensor.shape and _is_matrix(scores):
            columns = _argmax(scores)
            return [_NAN if col is _NAN else data[row * width + col] for row, col in enumerate(columns)]
    return None


def _labels_in_text(tensor: Tensor) -> Labels | None:
    """Read labels out of BYTES that are more than a label: Triton's class strings, or JSON objects."""
    matches = [_TRITON_CLASS.fullmatch(text) for text in tensor.data]
    if all(matches):
        return Labels(tensor.name, [int(match[1]) for match in matches if match], None)
    if not tensor.data[0].startswith("{"):
        return None
    rows = [parse_json(text.encode(errors="replace")) for text in tensor.data]
    if any(isinstance(row, Undecodable) for row in rows):
        return None
    inner = _by_convention(tensors_of_rows(rows, tensor.name))
    return None if inner is None else Labels(tensor.name, inner.values, inner.probabilities)


def _argmax(tensor: Tensor) -> list[int]:
    """Return the column of the highest value of each row, `_NAN` itself for a row with a NaN in it."""
    width, data = tensor.width, tensor.data
    columns: list[Any] = []
    for at in range(0, len(data), width):
        row = data[at : at + width]
        # The sum is NaN if any value is, and almost never else: the slow look is rare.
        if isnan(sum(row)) and any(map(isnan, row)):
            columns.append(_NAN)
        else:
            columns.append(row.index(max(row)))
    return columns


def _distribution(tensors: Sequence[Tensor], rows: int) -> Tensor | None:
    """Return the first output that holds a distribution for each of ``rows``."""
    for tensor in tensors:
        if tensor.kind == "float" and tensor.rows == rows and is_distribution(tensor):
            return tensor
    return None


def _is_matrix(tensor: Tensor) -> bool:
    """Whether a row is one vector: with more dimensions than that, its maximum would not be a class."""
    shape = tensor.shape
    return len(shape) < 3 or sum(1 for length in shape[1:] if length != 1) <= 1
