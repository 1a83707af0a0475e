"""Requests: the inputs by name, in every envelope."""

import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.requests import decode_request
from proxy.compare.values import Prediction, Undecodable

JSON = b"application/json"

REQUESTS: dict[str, tuple[Any, str, dict[str, list[Any]], int | None]] = {
    "Open Inference Protocol": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1.0, 2.0]]}]},
        "oip_v2",
        {"x": [1.0, 2.0]},
        1,
    ),
    "instances": ({"instances": [[1, 2], [3, 4]]}, "v1", {"instances": [1, 2, 3, 4]}, 2),
    "instances with names": ({"instances": [{"a": 1, "b": "x"}]}, "v1", {"a": [1], "b": ["x"]}, 1),
    "columns": ({"inputs": {"a": [1, 2]}}, "v1", {"a": [1, 2]}, 2),
    "rows without a name": ({"inputs": [[1], [2]]}, "v1", {"inputs": [1, 2]}, 2),
    "MLflow, records": ({"dataframe_records": [{"a": 1}, {"a": 2}]}, "v1", {"a": [1, 2]}, 2),
    "MLflow, split": (
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}},
        "v1",
        {"a": [1, 2], "b": ["x", "y"]},
        2,
    ),
    "MLflow, split and ragged": ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "v1", {}, 1),
    "chat": (
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
            ],
        },
        "openai",
        {"messages": ["Be brief.", "Hi"]},
        1,
    ),
    "completions": ({"model": "m", "prompt": ["a", "b"]}, "openai", {"prompt": ["a", "b"]}, 2),
    "embeddings": ({"model": "m", "input": "a"}, "openai", {"input": ["a"]}, 1),
    "embeddings of tokens": (
        {"model": "m", "input": [[1, 2]]},
        "json",
        {"model": ["m"], "input": [1, 2]},
        None,
    ),
    "a prompt that is no model's": ({"prompt": "a"}, "json", {"prompt": ["a"]}, None),
    "anything else": ({"x": 1}, "json", {"x": [1]}, None),
    "a list": ([1, 2], "json", {"predictions": [1, 2]}, None),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    """Format, inputs and rows."""
    document, fmt, inputs, rows = REQUESTS[name]
    found = decode_request(JSON, orjson.dumps(document))
    assert isinstance(found, Prediction)
    assert (found.format, found.rows) == (fmt, rows)
    assert {tensor.name: tensor.data for tensor in found.tensors} == inputs


def test_binary_inputs_without_a_content_type() -> None:
    """What ``tritonclient`` sends: no type, JSON, then the values."""
    inputs = [{"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]
    head = orjson.dumps({"inputs": inputs, "outputs": [{"name": "y"}]})
    found = decode_request(None, head + struct.pack("<2f", 0.5, 2.0), len(head))
    assert isinstance(found, Prediction)
    assert found.tensors[0].data == found.document["inputs"][0]["data"] == [0.5, 2.0]
    assert decode_request(None, head + b"\0", len(head)) == Undecodable("bad_tensor")


def test_rows_of_csv_and_lines() -> None:
    """SageMaker's other two types."""
    for kind, body in ((b"text/csv", b"1,2\n3,4\n"), (b"application/jsonlines", b"[1,2]\n[3,4]\n")):
        found = decode_request(kind, body)
        assert isinstance(found, Prediction)
        assert (found.rows, found.tensors[0].data) == (2, [1, 2, 3, 4])


@given(
    st.sampled_from([None, JSON, b"text/csv", b"text/event-stream"]),
    st.binary(max_size=40),
    st.none() | st.integers(-1, 50),
)
def test_any_bytes_are_read_or_give_a_reason(kind: bytes | None, body: bytes, header: int | None) -> None:
    """Never an exception."""
    assert isinstance(decode_request(kind, body, header), Prediction | Undecodable)
