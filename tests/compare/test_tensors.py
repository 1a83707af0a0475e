"""Regular values become named tensors; irregular ones become none."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.tensors import binary_tensor, oip_tensor, tensor_of, tensors_of_columns, tensors_of_rows


def _output(datatype: str, shape: Any, data: Any) -> dict[str, Any]:
    return {"name": "y", "datatype": datatype, "shape": shape, "data": data}


OIP: dict[str, tuple[dict[str, Any], list[Any] | None]] = {
    "flat": (_output("FP32", [2, 2], [1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]),
    "nested": (_output("FP32", [2, 2], [[1.0, 2.0], [3.0, 4.0]]), [1.0, 2.0, 3.0, 4.0]),
    "integers as floats": (_output("FP64", [2], [1, 2]), [1, 2]),
    "floats as integers": (_output("INT64", [1], [1.0]), [1.0]),
    "flags as numbers": (_output("BOOL", [2], [True, 0]), [True, 0]),
    "text": (_output("BYTES", [1], ["caf\u00e9"]), ["caf\u00e9"]),
    "a lone value": (_output("BYTES", [1], "cat"), ["cat"]),
    "a scalar": (_output("INT32", [], [7]), [7]),
    "empty": (_output("INT32", [0, 3], []), []),
    "empty, announced as binary": (
        {"name": "y", "datatype": "FP32", "shape": [2, 0], "parameters": {"binary_data_size": 0}},
        [],
    ),
    "not empty, and no values": (
        {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 0}},
        None,
    ),
    "too few": (_output("FP32", [3], [1.0, 2.0]), None),
    "too many": (_output("FP32", [1], [1.0, 2.0]), None),
    "ragged but of the right size": (_output("FP32", [2, 2], [[1.0], [2.0, 3.0, 4.0]]), [1.0, 2.0, 3.0, 4.0]),
    "lists beside scalars": (_output("FP32", [2], [[1.0], 2.0]), None),
    "text in a float": (_output("FP32", [1], ["1.0"]), None),
    "flag in a float": (_output("FP32", [1], [True]), None),
    "null in an integer": (_output("INT32", [1], [None]), None),
    "number in text": (_output("BYTES", [1], [1]), None),
    "object in text": (_output("BYTES", [1], [{}]), None),
    "unknown datatype": (_output("FP8", [1], [1]), None),
    "negative shape": (_output("INT32", [-1], []), None),
    "flag for a length": (_output("INT32", [True], [1]), None),
    "shape is no list": (_output("INT32", 1, [1]), None),
    "hostile shape": (_output("INT32", [2**62] * 50_000, [1]), None),
    "hostile nesting": (
        _output("INT32", [1], [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]),
        None,
    ),
    "no data": ({"name": "y", "datatype": "INT32", "shape": [0]}, None),
    "no name": ({"datatype": "INT32", "shape": [1], "data": [1]}, None),
}


@pytest.mark.parametrize("name", OIP)
def test_oip_output(name: str) -> None:
    """An output is read in row-major order, or not at all."""
    output, expected = OIP[name]
    tensor = oip_tensor(output)
    assert expected == (None if tensor is None else tensor.data)


def test_null_is_the_nan_of_strict_json() -> None:
    """A float tensor may hold null, which is read as NaN; the document itself stays as it was."""
    output = _output("FP32", [2], [None, 1.5])
    tensor = oip_tensor(output)
    assert tensor is not None
    assert math.isnan(tensor.data[0])
    assert output["data"] == [None, 1.5]


SHAPES: dict[str, tuple[list[int], int, int]] = {
    "scalar": ([], 1, 1),
    "vector": ([3], 3, 1),
    "column": ([3, 1], 3, 1),
    "matrix": ([2, 3], 2, 3),
    "cube": ([2, 3, 4], 2, 12),
    "no rows": ([0, 3], 0, 3),
    "no columns": ([3, 0], 3, 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_rows_and_width(name: str) -> None:
    """The first dimension counts rows, the others make their width."""
    shape, rows, width = SHAPES[name]
    tensor = oip_tensor(_output("INT64", shape, [1] * math.prod(shape)))
    assert tensor is not None
    assert (rows, width) == (tensor.rows, tensor.width)


@pytest.mark.parametrize("output", [None, 1, "x", [], {}, {"name": 1, "datatype": 2, "shape": 3}])
def test_what_is_no_output_is_no_tensor(output: Any) -> None:
    """Neither reader raises on other JSON."""
    assert oip_tensor(output) is None
    assert binary_tensor(output, b"") is None


def _bytes_elements(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


BINARY: dict[str, tuple[str, list[int], bytes, list[Any] | None]] = {
    "FP32": ("FP32", [2], struct.pack("<2f", 0.5, -1.5), [0.5, -1.5]),
    "FP16": ("FP16", [2], np.array([0.5, 2.0], "<f2").tobytes(), [0.5, 2.0]),
    "BF16 is half an FP32": (
        "BF16",
        [2],
        struct.pack("<f", 0.5)[2:] + struct.pack("<f", -3.0)[2:],
        [0.5, -3.0],
    ),
    "INT64": ("INT64", [1, 2], struct.pack("<2q", 1, -2), [1, -2]),
    "UINT8": ("UINT8", [2], b"\x00\xff", [0, 255]),
    "BOOL": ("BOOL", [2], b"\x00\x01", [False, True]),
    "BYTES": ("BYTES", [2], _bytes_elements(b"cat", b""), ["cat", ""]),
    "BYTES that are no text": ("BYTES", [1], _bytes_elements(b"\xff\x00"), ["\uefff\x00"]),
    "empty": ("FP32", [0], b"", []),
    "empty BYTES": ("BYTES", [0], b"", []),
    "too short": ("FP32", [2], b"\0\0\0\0", None),
    "not a multiple": ("FP32", [1], b"\0\0\0", None),
    "odd BF16": ("BF16", [1], b"\0\0\0", None),
    "element past the end": ("BYTES", [1], struct.pack("<I", 4) + b"cat", None),
    "cut length": ("BYTES", [1], b"\1\0", None),
    "unknown datatype": ("FP8", [1], b"\0", None),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_output(name: str) -> None:
    """Values come out of their native form, or the tensor is refused."""
    datatype, shape, raw, expected = BINARY[name]
    tensor = binary_tensor({"name": "y", "datatype": datatype, "shape": shape}, raw, keeps_octets=True)
    assert expected == (None if tensor is None else tensor.data)


def test_letters_are_guessed_for_who_looks_for_a_word() -> None:
    """Without a word on octets, an element that is not UTF-8 is Latin-1."""
    elements = _bytes_elements("caf\u00e9".encode("latin-1"), "caf\u00e9".encode())
    tensor = binary_tensor({"name": "y", "datatype": "BYTES", "shape": [2]}, elements)
    assert tensor is not None
    assert tensor.data == ["caf\u00e9", "caf\u00e9"]


@given(st.binary(max_size=40), st.sampled_from(["FP16", "BF16", "INT8", "BOOL", "BYTES"]), st.integers(0, 20))
def test_any_bytes_are_a_binary_tensor_or_none(raw: bytes, datatype: str, size: int) -> None:
    """The values always fill the shape."""
    tensor = binary_tensor({"name": "y", "datatype": datatype, "shape": [size]}, raw)
    assert tensor is None or size == len(tensor.data)


Summary = list[tuple[str, str, tuple[int, ...], list[Any]]]

ROWS: dict[str, tuple[list[Any], Summary]] = {
    "integers": ([1, 2], [("p", "INT64", (2,), [1, 2])]),
    "flags": ([True], [("p", "BOOL", (1,), [True])]),
    "text": (["a", "b"], [("p", "BYTES", (2,), ["a", "b"])]),
    "numbers": ([1, 0.5], [("p", "FP64", (2,), [1, 0.5])]),
    "vectors": ([[0.1, 0.9], [0.2, 0.8]], [("p", "FP64", (2, 2), [0.1, 0.9, 0.2, 0.8])]),
    "images": ([[[1], [2]]], [("p", "INT64", (1, 2, 1), [1, 2])]),
    "no rows": ([], [("p", "FP64", (0,), [])]),
    "flags and numbers": ([True, 1], []),
    "text and numbers": (["a", 1], []),
    "ragged": ([[1, 2], [3]], []),
    "vector beside scalar": ([[1, 2], 3], []),
    "nothing but null": ([None], []),
    "objects": (
        [{"y": 1, "z": [0.5, 0.5]}, {"z": [0.1, 0.9], "y": 2}],
        [("y", "INT64", (2,), [1, 2]), ("z", "FP64", (2, 2), [0.5, 0.5, 0.1, 0.9])],
    ),
    "objects with an irregular key": ([{"y": 1, "z": "a"}, {"y": 2, "z": 3}], [("y", "INT64", (2,), [1, 2])]),
    "objects with other keys": ([{"y": 1}, {"z": 1}], []),
    "objects beside scalars": ([{"y": 1}, 2], []),
    "maps of probabilities": (
        [{"p": {"dog": 0.1, "cat": 0.9}}, {"p": {"cat": 0.2, "dog": 0.8}}],
        [("p", "FP64", (2, 2), [0.9, 0.1, 0.2, 0.8])],
    ),
    "maps of other classes": ([{"p": {"dog": 1}}, {"p": {"cat": 1}}], []),
    "null among numbers": ([[0.5, None]], [("p", "FP64", (1, 2), [0.5, math.nan])]),
    "maps of text": ([{"p": {"dog": "x"}}], []),
    "empty maps": ([{"p": {}}], []),
    "classify rows": (
        [[["dog", 0.2], ["cat", 0.8]], [["cat", 0.3], ["dog", 0.7]]],
        [("label", "BYTES", (2,), ["cat", "dog"]), ("scores", "FP64", (2, 2), [0.8, 0.2, 0.3, 0.7])],
    ),
    "classify rows of other classes": (
        [[["dog", 1.0]], [["cat", 1.0]]],
        [("label", "BYTES", (2,), ["dog", "cat"])],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Rows of one form become columns, other rows nothing."""
    rows, expected = ROWS[name]
    found = tensors_of_rows(rows, "p")
    assert str(expected) == str([(t.name, t.datatype, t.shape, t.data) for t in found])
    assert all(math.prod(t.shape) == len(t.data) for t in found)


def test_columns_of_maps_know_their_classes() -> None:
    """Probabilities by class are sorted by class, so that two answers line up."""
    (tensor,) = tensors_of_columns({"p": [{"dog": 1, "cat": 0}]})
    assert (tensor.classes, tensor.data) == (("cat", "dog"), [0, 1])


def test_a_bare_scalar_is_one_row() -> None:
    """What a pointer finds may be a single value."""
    tensor = tensor_of("cat", "/class")
    assert tensor is not None
    assert (tensor.shape, tensor.data, tensor.rows, tensor.width) == ((1,), ["cat"], 1, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)


maps = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.lists(st.integers(0, 3)), min_size=1)
vectors = st.integers(0, 3).flatmap(
    lambda n: st.lists(st.lists(st.floats(), min_size=n, max_size=n), max_size=4)
)
like_rows = maps.flatmap(lambda row: st.lists(st.just(row) | maps, max_size=4)) | vectors


@given(st.lists(json_values, max_size=4) | like_rows)
def test_any_rows_are_full_tensors_or_none(rows: list[Any]) -> None:
    """Whatever comes out has as many values as its shape says, and as many rows as went in."""
    for tensor in tensors_of_rows(rows, "p"):
        assert math.prod(tensor.shape) == len(tensor.data) == tensor.rows * tensor.width
        assert len(rows) == tensor.rows


NATIVE = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
shapes = st.lists(st.integers(0, 3), max_size=3)


@given(st.sampled_from([*NATIVE, "BF16"]), shapes, st.data())
def test_every_datatype_of_the_binary_extension(datatype: str, shape: list[int], data: st.DataObject) -> None:
    """What numpy wrote is read, bit by bit: shapes of no values and scalars included."""
    size = math.prod(shape)
    native = np.dtype(NATIVE.get(datatype, "<f4"))
    raw = data.draw(st.binary(min_size=size * native.itemsize, max_size=size * native.itemsize))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    values = np.frombuffer(raw, native)
    if datatype == "BF16":  # the upper half of an FP32
        raw = b"".join(value.tobytes()[2:] for value in values)
        values = np.array(
            [struct.unpack("<f", b"\0\0" + raw[at : at + 2])[0] for at in range(0, len(raw), 2)]
        )
    tensor = binary_tensor({"name": "y", "datatype": datatype, "shape": shape}, raw)
    assert tensor is not None
    assert tensor.shape == tuple(shape)
    assert list(map(repr, tensor.data)) == list(map(repr, values.tolist()))
    assert (tensor.rows, tensor.rows * tensor.width) == (shape[0] if shape else 1, size)
    assert (
        binary_tensor({"name": "y", "datatype": datatype, "shape": shape}, raw + b"\0" * native.itemsize)
        is None
    )


@given(st.lists(st.text(max_size=4), max_size=5))
def test_texts_of_the_binary_extension(texts: list[str]) -> None:
    """Each BYTES element has its length before it."""
    encoded = [text.encode(errors="replace") for text in texts]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    tensor = binary_tensor({"name": "y", "datatype": "BYTES", "shape": [len(texts)]}, raw)
    assert tensor is not None
    assert tensor.data == [text.decode() for text in encoded]
