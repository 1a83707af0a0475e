"""Where in an answer a rule looks: values by JSON pointer, by tensor name, or by convention."""

from collections.abc import Collection, Sequence
from typing import Final

from proxy.compare.decode import ROW_KEYS
from proxy.compare.pointers import resolve
from proxy.compare.values import Json, Prediction, Tensor

__all__ = ["likeliest", "nested", "select_value", "whole"]


def select_value(prediction: Prediction, place: str) -> Json | None:
    """Return what stands at ``place``: behind a JSON pointer, or in the tensor of that name as nested lists.

    ``None`` if there is nothing, or null.
    """
    if not place.startswith("/"):
        tensor = next((tensor for tensor in prediction.tensors if tensor.name == place), None)
        return None if tensor is None else nested(tensor)
    if not prediction.is_json:
        return None
    try:
        return resolve(prediction.document, place)
    except KeyError:
        return None


def likeliest(tensors: Sequence[Tensor], beside: Tensor | None, names: Collection[str]) -> Tensor | None:
    """Return the likeliest of tensors of numbers: the one that the primary's came from, one with one of the usual
    ``names``, the first of floats, the first of integers."""
    if not tensors:
        return None
    hint = None if beside is None else beside.name
    return min(
        tensors,
        key=lambda tensor: (tensor.name != hint, tensor.name.lower() not in names, tensor.kind != "float"),
    )


def nested(tensor: Tensor) -> Json:
    """Return the values of a tensor as lists in lists, as its shape says; those of a scalar as a list of one."""
    values: list[Json] = tensor.data
    for length in reversed(tensor.shape[1:]):
        if not length:
            return [[] for _ in range(tensor.rows)]
        values = [values[at : at + length] for at in range(0, len(values), length)]
    return values


def whole(prediction: Prediction) -> Json | None:
    """Return the rows of an answer as they were written: a V1 envelope's, or the whole of other JSON."""
    document = prediction.document
    if prediction.format == "v1":
        return next((document[key] for key in _V1_KEYS if key in document), None)
    return document if prediction.is_json and prediction.format != "oip_v2" else None


_V1_KEYS: Final[Sequence[str]] = (*ROW_KEYS, "outputs")
