"""The Open Inference Protocol, version 2, as values: JSON bytes to rows of pixels, labels to JSON bytes.

Source: Open Inference Protocol, ``specification/protocol/inference_rest.md``. Pure: no socket, no clock.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from proxy.demo.models import PIXELS, Role

__all__ = [
    "INPUT_NAME",
    "MAX_BATCH",
    "BadInputError",
    "InferenceRequest",
    "build_answer",
    "build_metadata",
    "build_question",
    "parse_answer",
    "parse_question",
]

INPUT_NAME = "pixels"
"""Name of the only input tensor."""

MAX_BATCH = 256
"""Rows in one request. Keeps one request from holding the only thread for more than some milliseconds."""

MAX_PIXEL = 1e6
"""Largest magnitude of a pixel. Pixels are 0..16; far beyond, 32-bit trees and scalers overflow."""

_NUMERIC = frozenset(
    f"{kind}{bits}"
    for kind, widths in {"FP": (16, 32, 64), "INT": (8, 16, 32, 64), "UINT": (8, 16, 32, 64)}.items()
    for bits in widths
)
_OUTPUTS = ("label", "probabilities")


class BadInputError(Exception):
    """The request is not one this model can answer; the message says what was expected (status 400)."""


class InferenceRequest:
    """A question that passed every check."""

    __slots__ = ("outputs", "request_id", "rows")

    def __init__(self, rows: NDArray[np.float64], request_id: str | None, outputs: tuple[str, ...]) -> None:
        self.rows = rows
        """Shape ``(n, 64)``, 1 ≤ n ≤ ``MAX_BATCH``, all finite."""
        self.request_id = request_id
        """The ``id`` of the request, echoed in the answer."""
        self.outputs = outputs
        """Names of the output tensors asked for; both when the request names none."""


def parse_question(body: bytes) -> InferenceRequest:
    """Return the checked question in ``body``.

    Raises:
        BadInputError: with one sentence that says what was found and what was expected.
    """
    document = _load_object(body)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadInputError("id: expected a string")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadInputError(f"inputs: expected a list with the one tensor {INPUT_NAME!r}")
    return InferenceRequest(_parse_rows(inputs[0]), request_id, _parse_outputs(document.get("outputs")))


def _load_object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInputError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadInputError("the body is not a JSON object")
    return document


def _parse_rows(tensor: dict[str, Any]) -> NDArray[np.float64]:
    if tensor.get("name") != INPUT_NAME:
        raise BadInputError(f"inputs[0].name: expected {INPUT_NAME!r}, got {tensor.get('name')!r:.40}")
    found = tensor.get("datatype")
    if not isinstance(found, str) or found not in _NUMERIC:
        raise BadInputError(f"inputs[0].datatype: expected a number type such as FP64, got {found!r:.40}")
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or any(type(size) is not int for size in shape)
        or shape[1] != PIXELS
        or not 1 <= shape[0] <= MAX_BATCH
    ):
        raise BadInputError(
            f"inputs[0].shape: expected [n, {PIXELS}] with n of 1..{MAX_BATCH}, got {shape!r:.40}"
        )
    return _parse_numbers(tensor.get("data"), shape[0])


def _parse_numbers(content: Any, count: int) -> NDArray[np.float64]:
    try:
        # "O" first: with a dtype numpy would turn the string "7" or true into numbers in silence.
        cells = np.asarray(content, dtype=object).reshape(-1)
        if not all(type(cell) in (int, float) for cell in cells):
            raise TypeError("not numbers")
        numbers = cells.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInputError("inputs[0].data: expected numbers, flat or in rows of equal length") from error
    if numbers.size != count * PIXELS:
        expected = count * PIXELS
        raise BadInputError(f"inputs[0].data: expected {expected} numbers for this shape, got {numbers.size}")
    if not (np.abs(numbers) <= MAX_PIXEL).all():
        raise BadInputError(f"inputs[0].data: expected numbers within ±{MAX_PIXEL:g}")
    return numbers.reshape(count, PIXELS)


def _parse_outputs(asked: Any) -> tuple[str, ...]:
    if asked is None or asked == []:
        return _OUTPUTS
    if not isinstance(asked, list) or not all(isinstance(output, dict) for output in asked):
        raise BadInputError("outputs: expected a list of objects with a name")
    names = tuple(output.get("name") for output in asked)
    if any(name not in _OUTPUTS for name in names):
        raise BadInputError(f"outputs: this model has {' and '.join(_OUTPUTS)}")
    return tuple(name for name in _OUTPUTS if name in names)


def build_question(row: NDArray[np.float64]) -> bytes:
    """Return the request body that asks about one row, shape ``(64,)``."""
    tensor = {"name": INPUT_NAME, "datatype": "FP64", "shape": [1, PIXELS], "data": row.tolist()}
    return orjson.dumps({"inputs": [tensor]})


def build_answer(
    role: Role, question: InferenceRequest, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> bytes:
    """Return the response body for ``labels: (n,)`` and ``probabilities: (n, classes)``."""
    tensors: dict[str, dict[str, Any]] = {
        "label": {"datatype": "INT64", "shape": [len(labels)], "data": labels.tolist()},
        "probabilities": {
            "datatype": "FP64",
            "shape": list(probabilities.shape),
            "data": probabilities.reshape(-1).tolist(),
        },
    }
    document: dict[str, Any] = {"model_name": role.served_as, "model_version": role.version}
    if question.request_id is not None:
        document["id"] = question.request_id
    document["outputs"] = [{"name": name, **tensors[name]} for name in question.outputs]
    return orjson.dumps(document)


def parse_answer(body: bytes) -> int | None:
    """Return the label of a one-row answer, or None when ``body`` is not one."""
    try:
        for output in orjson.loads(body)["outputs"]:
            if output["name"] == "label" and len(output["data"]) == 1:
                return int(output["data"][0])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    return None


def build_metadata(role: Role) -> bytes:
    """Return the model's metadata: name, versions, platform and tensors."""
    return orjson.dumps(
        {
            "name": role.served_as,
            "versions": [role.version],
            "platform": "sklearn",
            "inputs": [{"name": INPUT_NAME, "datatype": "FP64", "shape": [-1, PIXELS]}],
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP64", "shape": [-1, 10]},
            ],
        }
    )
