"""What our decoders read of an exchange that a real client and a real server had."""

from base64 import b64decode
from typing import Any

import numpy as np

from proxy.compare import Answer, ComparisonRule, Prediction, compare, decode
from tests.real.messages import Exchange, Message
from tests.real.processes import Driver
from tests.real.stage import Stage

__all__ = ["FORMS", "first", "hold_labels", "read"]

FORMS = {
    "JSON": {"binary_in": False, "binary_out": False},
    "binary in": {"binary_in": True, "binary_out": False},
    "binary out": {"binary_in": False, "binary_out": True},
}
"""How ``tritonclient`` sends and wants tensors."""


def first(message: Message, name: bytes) -> bytes | None:
    """Return a field's value, where it is there."""
    return next(iter(message.values(name)), None)


def answer_of(exchange: Exchange) -> Answer:
    """Return an answer as the observer gets it."""
    answer = exchange.response
    length = first(answer, b"inference-header-content-length")
    kind, coding = first(answer, b"content-type"), first(answer, b"content-encoding")
    return Answer(answer.status, kind, coding, answer.body, False, None if length is None else int(length))


def read(exchange: Exchange) -> Prediction:
    """Return what our decoder reads of an answer."""
    answer = answer_of(exchange)
    found = decode(
        answer.status,
        answer.content_type,
        answer.content_encoding,
        answer.body,
        answer.inference_header_length,
    )
    assert isinstance(found, Prediction), found
    return found


def hold_labels(stage: Stage, client: Driver, output: str, form: str) -> None:
    """Have ``tritonclient`` ask for five labels, and hold what we read against what it made of the same answer."""
    asked: dict[str, Any] = {
        "model": "iris",
        "names": "x",
        "kind": "FP64",
        "outputs": (output,),
        "rows": 5,
        **FORMS[form],
    }
    told, (exchange,) = stage.heard(client, "infer", **asked)
    assert "gave" in told, told
    ((_, arrays),) = told["gave"]
    dtype, shape, values = arrays[output]
    found = read(exchange)
    (tensor,) = found.tensors
    assert (found.format, found.rows, tensor.name) == ("oip_v2", 5, output)
    assert (list(tensor.shape), tensor.data) == (
        shape,
        np.frombuffer(b64decode(values), np.dtype(dtype)).tolist(),
    )
    answer = answer_of(exchange)
    same = compare(ComparisonRule(), answer, answer)
    assert (same.result, same.method, same.rows) == ("agree", "classification", 5)
