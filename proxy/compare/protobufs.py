"""Tensors as protobuf's JSON writes them → tensors: ``{name: {what it is, its shape, its values}}``.

=============== ==================================================================================
ONNX Runtime    ``{"dims", "dataType", "rawData"}`` or ``floatData``, … (onnx.proto, ``TensorProto``)
TensorFlow      ``{"dtype", "tensorShape": {"dim": [{"size"}]}, "floatVal"}``, … or ``tensorContent``
                (tensor.proto, ``TensorProto``)
=============== ==================================================================================

Members are written in camel case or as in the schema, integers of 64 bits as text and bytes as base64 (ProtoJSON).
"""

import binascii
from collections.abc import Iterator, Sequence
from math import prod
from typing import Final

import numpy as np

from proxy.compare.content import decode_octets
from proxy.compare.tensors import binary_tensor, oip_tensor
from proxy.compare.values import Json, Tensor

__all__ = ["read_protobufs"]

_Object = dict[str, Json]

_ONNX: Final = dict(
    enumerate(
        [
            *("FP32", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "BYTES", "BOOL", "FP16", "FP64"),
            *("UINT32", "UINT64", "", "", "BF16"),
        ],
        start=1,
    )
)
"""``TensorProto.DataType`` by number; complex numbers are none of ours."""

_NAMED: Final = {
    "BFLOAT16": "BF16",
    "BOOL": "BOOL",
    "DOUBLE": "FP64",
    "FLOAT": "FP32",
    "FLOAT16": "FP16",
    "HALF": "FP16",
    "STRING": "BYTES",
    **{name: name for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")},
}
"""Both by name; TensorFlow's begin with ``DT_``."""

_RAW: Final = ("rawData", "raw_data", "tensorContent", "tensor_content")
_HALVES: Final = frozenset({"FP16", "BF16"})
_INTEGERS: Final = frozenset(
    {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", *_HALVES}
)
_FLOATS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_RANK: Final = 32
_REPEATED: Final = 1 << 20
"""Values of an answer up to which the last one of a list may stand for all that follow, as TensorFlow shortens
constants: a short answer may say that it has any number of them."""


def read_protobufs(outputs: _Object) -> tuple[list[Json], list[Tensor]] | None:
    """Return the outputs as the Open Inference Protocol writes them, and as tensors; ``None`` unless all are such."""
    tensors: list[Tensor] = []
    room = _REPEATED
    for name, value in outputs.items():
        tensor = _read(value, name, room)
        if tensor is None:
            return None
        tensors.append(tensor)
        room -= len(tensor.data)
    if not tensors:
        return None
    return [
        {"name": each.name, "datatype": each.datatype, "shape": list(each.shape), "data": each.data}
        for each in tensors
    ], tensors


def _read(value: Json, name: str, room: int) -> Tensor | None:
    if type(value) is not dict:
        return None
    datatype, shape = _datatype(value), _shape(value)
    if datatype is None or shape is None:
        return None
    head: _Object = {"name": name, "datatype": datatype, "shape": shape}
    raw = next((value[key] for key in _RAW if value.get(key)), None)
    if raw is not None:
        content = _unpacked(raw)
        return None if content is None else binary_tensor(head, content, keeps_octets=True)
    lists = [
        values for key, values in value.items() if _holds_values(key) and type(values) is list and values
    ]
    if len(lists) > 1:
        return None
    data = _values(lists[0] if lists else [], datatype)
    if data is None:
        return None
    size = prod(shape)
    if 0 < len(data) < size <= room and "dtype" in value:
        data += data[-1:] * (size - len(data))
    if datatype in _HALVES:
        return _of_halves(head, data)
    return oip_tensor({**head, "data": data})


def _datatype(value: _Object) -> str | None:
    said = next((value[key] for key in ("dataType", "data_type", "dtype") if key in value), None)
    if type(said) is int:
        return _ONNX.get(said) or None
    return _NAMED.get(said.removeprefix("DT_")) if type(said) is str else None


def _shape(value: _Object) -> list[int] | None:
    shape = value.get("tensorShape", value.get("tensor_shape"))
    if type(shape) is dict:
        listed = shape.get("dim", [])
        dims = (
            [each.get("size", 0) if type(each) is dict else None for each in listed]
            if type(listed) is list
            else None
        )
    else:
        dims = value.get("dims", [])
    if type(dims) is not list or len(dims) > _RANK:
        return None
    sizes = [_integer(each) for each in dims]
    found = [size for size in sizes if size is not None and size >= 0]
    return found if len(found) == len(sizes) else None


def _holds_values(key: str) -> bool:
    return key.endswith(("Val", "_val", "Data", "_data"))


def _values(listed: Sequence[Json], datatype: str) -> list[Json] | None:
    found = list(_each(listed, datatype))
    return None if len(found) < len(listed) else found


def _each(listed: Sequence[Json], datatype: str) -> Iterator[Json]:
    """Return values until one is none of ``datatype``."""
    for value in listed:
        if datatype == "BYTES":
            raw = _unpacked(value)
            value = None if raw is None else decode_octets(raw)
        elif datatype in _INTEGERS:
            value = _integer(value)
        elif type(value) is str:
            value = _FLOATS.get(value)
        if value is None:
            return
        yield value


def _integer(value: Json) -> int | None:
    if type(value) is int:
        return value
    is_number = (
        type(value) is str and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdecimal()
    )
    return int(value) if is_number else None


def _of_halves(head: _Object, data: list[Json]) -> Tensor | None:
    """Read floats of 16 bits, which are written as the integers of the same bits."""
    if any(not 0 <= value < 1 << 16 for value in data):
        return None
    return binary_tensor(head, np.array(data, "<u2").tobytes())


def _unpacked(text: Json) -> bytes | None:
    if type(text) is not str:
        return None
    try:
        return binascii.a2b_base64(text.replace("-", "+").replace("_", "/"), strict_mode=True)
    except ValueError:  # binascii.Error, and what is not ASCII
        return None
