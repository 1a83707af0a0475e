"""The true answer to a request, as it comes over the admin address: of one row, or of each row of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["MAX_ROW_LABELS", "MAX_TEXT", "LabelItem", "TrueLabel", "read_labels"]

MAX_TEXT: Final = 1024
"""Characters of a label."""

MAX_ROW_LABELS: Final = 1000
"""Labels of one row, where a row has several."""

TrueLabel: TypeAlias = str | int | float | bool | tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class LabelItem:
    """What is true of one request."""

    number: int
    """Where it stood in the batch, from 1."""
    route: str
    request_id: str
    labels: tuple[TrueLabel, ...]
    """Of each row; None where it is not known."""


def read_labels(value: Mapping[str, Any]) -> tuple[TrueLabel, ...]:
    """Return the labels that an item has under ``label`` or ``labels``, of which it has one.

    Raises:
        ValueError: it is no label; the sentence says what was expected.
    """
    if "label" in value:
        if value["label"] is None:
            raise ValueError("label: expected the true answer, got nothing")
        return (_label(value["label"], "label"),)
    labels = value["labels"]
    if not isinstance(labels, list) or not labels:
        raise ValueError(
            "labels: expected a list with the true answer of each row, null where it is not known"
        )
    if all(each is None for each in labels):
        raise ValueError("labels: expected the true answer of one row at least, got null for all of them")
    return tuple(None if each is None else _label(each, f"labels[{i}]") for i, each in enumerate(labels))


def _label(value: Any, where: str) -> TrueLabel:
    if isinstance(value, list):
        if len(value) > MAX_ROW_LABELS:
            raise ValueError(f"{where}: expected at most {MAX_ROW_LABELS} labels in a row")
        return tuple(_one(each, where) for each in _flat(value, where))
    return _one(value, where)


def _flat(values: Sequence[Any], where: str) -> Sequence[Any]:
    if any(isinstance(each, list | dict) or each is None for each in values):
        raise ValueError(f"{where}: expected text, numbers, true or false in the list of a row's labels")
    return values


def _one(value: Any, where: str) -> str | int | float | bool:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"{where}: expected at most {MAX_TEXT} characters")
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"{where}: expected text, a number, true or false, or a list of those")
    return value
