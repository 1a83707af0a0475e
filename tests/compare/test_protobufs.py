"""Tensors in protobuf's JSON are the tensors that they are in the Open Inference Protocol."""

import base64
import struct
from math import inf, isnan
from typing import Any

import pytest

from proxy.compare import Prediction, compare
from proxy.compare.decode import decode
from proxy.compare.protobufs import read_protobufs
from proxy.compare.rules import ComparisonRule
from tests.compare.answers import json_answer, oip


def packed(form: str, *values: Any) -> str:
    """Return values as base64, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(values)}{form}", *values)).decode()


def _tf(kind: str, sizes: list[Any], **values: Any) -> dict[str, Any]:
    return {"dtype": kind, "tensorShape": {"dim": [{"size": size} for size in sizes]}, **values}


TENSORS: dict[str, tuple[dict[str, Any], tuple[str, tuple[int, ...], list[Any]] | None]] = {
    "ONNX Runtime's server": (
        {"dims": ["1", "2"], "dataType": 1, "rawData": packed("f", 0.5, 0.25), "dataLocation": "DEFAULT"},
        ("FP32", (1, 2), [0.5, 0.25]),
    ),
    "its own names": (
        {"dims": [2], "data_type": "INT64", "raw_data": packed("q", 1, -1)},
        ("INT64", (2,), [1, -1]),
    ),
    "integers as text": ({"dims": ["2"], "dataType": 7, "int64Data": ["9", "-9"]}, ("INT64", (2,), [9, -9])),
    "the largest integer": (
        {"dims": ["1"], "dataType": 13, "uint64Data": [str(2**64 - 1)]},
        ("UINT64", (1,), [2**64 - 1]),
    ),
    "texts": (
        {
            "dims": ["2"],
            "dataType": 8,
            "stringData": [base64.b64encode(b).decode() for b in (b"cat", b"\xff")],
        },
        ("BYTES", (2,), ["cat", "\uefff"]),
    ),
    "halves as integers": (
        {"dims": ["2"], "dataType": 10, "int32Data": [0x3C00, 0x7BFF]},
        ("FP16", (2,), [1.0, 65504.0]),
    ),
    "TensorFlow": (_tf("DT_FLOAT", ["1", "2"], floatVal=[0.5, "Infinity"]), ("FP32", (1, 2), [0.5, inf])),
    "TensorFlow, packed": (
        _tf("DT_DOUBLE", ["1"], tensorContent=packed("d", 1e300)),
        ("FP64", (1,), [1e300]),
    ),
    "TensorFlow, a scalar": (
        {"dtype": "DT_BOOL", "tensorShape": {}, "boolVal": [True]},
        ("BOOL", (), [True]),
    ),
    "TensorFlow, a constant": (_tf("DT_INT32", [3], intVal=[7]), ("INT32", (3,), [7, 7, 7])),
    "TensorFlow, no rows": (_tf("DT_FLOAT", [0, "2"]), ("FP32", (0, 2), [])),
    "TensorFlow, halves": (_tf("DT_BFLOAT16", [1], halfVal=[0x3F80]), ("BF16", (1,), [1.0])),
    "a constant that is too large": (_tf("DT_INT32", [1 << 40], intVal=[7]), None),
    "fewer values": ({"dims": ["3"], "dataType": 1, "floatData": [1.5]}, None),
    "two lists": ({"dims": ["1"], "dataType": 1, "floatData": [1.5], "doubleData": [1.5]}, None),
    "half a number": ({"dims": ["1"], "dataType": 1, "rawData": "AAAA"}, None),
    "no base64": ({"dims": ["1"], "dataType": 1, "rawData": "é?"}, None),
    "complex numbers": ({"dims": ["1"], "dataType": 14, "rawData": packed("f", 1, 2)}, None),
    "an unknown type": (_tf("DT_VARIANT", [1]), None),
    "a negative size": (_tf("DT_INT32", [-1], intVal=[7]), None),
    "a size that is a word": (_tf("DT_INT32", ["x"], intVal=[7]), None),
    "a text among numbers": (_tf("DT_FLOAT", [1], floatVal=["1.5"]), None),
    "no half": ({"dims": ["1"], "dataType": 10, "int32Data": [1 << 16]}, None),
    "a row": ({"a": 1}, None),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    """Type, shape and values, or none."""
    written, expected = TENSORS[name]
    found = read_protobufs({"y": written})
    if expected is None:
        assert found is None
    else:
        assert found is not None
        (tensor,) = found[1]
        assert (tensor.name, tensor.datatype, tensor.shape, tensor.data) == ("y", *expected)


def test_not_a_number() -> None:
    """NaN is written as a word."""
    found = read_protobufs({"y": _tf("DT_FLOAT", [1], floatVal=["NaN"])})
    assert found is not None
    assert isnan(found[1][0].data[0])


def test_they_are_compared_as_tensors() -> None:
    """The same values in both forms, and in the Open Inference Protocol, are one answer."""
    plain = oip(("y", "FP32", [1, 2], [0.5, 2.5]))
    onnx = json_answer(
        {"outputs": {"y": {"dims": ["1", "2"], "dataType": 1, "rawData": packed("f", 0.5, 2.5)}}}
    )
    flow = json_answer(
        {
            "outputs": {"y": _tf("DT_FLOAT", ["1", "2"], floatVal=[0.5, 2.5])},
            "modelSpec": {"name": "m", "version": "1"},
        }
    )
    for answer in (onnx, flow):
        assert isinstance(decode(200, answer.content_type, None, answer.body), Prediction)
        found = compare(ComparisonRule(), plain, answer)
        assert (found.result, found.method) == ("agree", "tensor")
        assert compare(ComparisonRule("json"), answer, plain).result == "agree"


def test_constants_are_bounded() -> None:
    """However many outputs say that they have a million values of the one that they write, one of them may."""
    constant = _tf("DT_INT32", [1 << 20], intVal=[7])
    found = read_protobufs({"a": constant})
    assert found is not None
    assert len(found[1][0].data) == 1 << 20
    assert read_protobufs({"a": constant, "b": constant}) is None


def test_one_that_is_none_leaves_all() -> None:
    """Outputs of which one is no such tensor are columns, as they are without them."""
    assert read_protobufs({"a": {"dims": [], "dataType": 1, "floatData": [1.5]}, "b": [1]}) is None
    assert read_protobufs({}) is None
