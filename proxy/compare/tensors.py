"""JSON values → named tensors: the one shape in which labels and numbers are looked for.

Envelopes differ (Open Inference Protocol outputs, TensorFlow Serving rows and columns, a bare list), what
they hold does not: per row, some named values. Whatever is irregular gives no tensor, never an error; such
answers can still be compared as documents.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Final

import numpy as np

from proxy.compare.content import decode_octets
from proxy.compare.scored import Pairs, read_scored_rows
from proxy.compare.values import Json, Kind, Tensor

__all__ = [
    "binary_tensor",
    "oip_tensor",
    "tensor_of",
    "tensors_of_columns",
    "tensors_of_rows",
    "tensors_of_scored",
]

_MAX_RANK: Final = 32
"""numpy 1 has the same limit. It also keeps the product of a hostile shape cheap."""

_NAN: Final = float("nan")

_INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(_INTEGERS, "int"),
    **dict.fromkeys(_FLOATS, "float"),
    "BOOL": "bool",
    "BYTES": "bytes",
}
_TYPES: Final[dict[Kind, frozenset[type]]] = {
    "int": frozenset({int, float}),
    "float": frozenset({int, float, type(None)}),
    "bool": frozenset({bool, int}),
    "bytes": frozenset({str}),
}
"""What JSON may hold for each kind. Floats may be null: JSON has no NaN, and servers that keep to JSON
(orjson, JavaScript) write null instead."""

_NATIVE: Final[dict[str, str]] = {
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
_INFERRED: Final[dict[frozenset[type], tuple[str, Kind]]] = {
    frozenset({int}): ("INT64", "int"),
    frozenset({float}): ("FP64", "float"),
    frozenset({int, float}): ("FP64", "float"),
    frozenset({float, type(None)}): ("FP64", "float"),
    frozenset({int, float, type(None)}): ("FP64", "float"),
    frozenset({bool}): ("BOOL", "bool"),
    frozenset({str}): ("BYTES", "bytes"),
    frozenset(): ("FP64", "float"),
}


def oip_tensor(output: Json) -> Tensor | None:
    """Read one element of ``outputs`` (Open Inference Protocol V2, "$response_output").

    ``data`` may be flat or nested, as the protocol allows; a lone value may stand for a list of one.
    ``None`` when the values do not fit ``datatype`` and ``shape``.
    """
    if type(output) is not dict:
        return None
    try:
        name, datatype, shape, data = output["name"], output["datatype"], output["shape"], output["data"]
    except KeyError:
        return binary_tensor(output, b"") if _is_empty_binary(output) else None
    if type(name) is not str or type(datatype) is not str or type(shape) is not list:
        return None
    kind, size = _KINDS.get(datatype), _size(shape)
    if kind is None or size is None:
        return None
    if type(data) is not list:
        data = [data]
    elif data and type(data[0]) is list:
        data = _flatten(data)
    if data is None or len(data) != size:
        return None
    if size == 1:
        # Most answers are one row with one value.
        if type(data[0]) not in _TYPES[kind]:
            return None
        return Tensor(name, datatype, kind, tuple(shape), [_NAN] if data[0] is None else data, 1, 1)
    types = set(map(type, data))
    if not types <= _TYPES[kind]:
        return None
    if type(None) in types:
        data = [_NAN if value is None else value for value in data]
    return _tensor(name, datatype, kind, tuple(shape), data)


def _is_empty_binary(output: dict[str, Json]) -> bool:
    """Whether an output announces binary values of no bytes: then its body looks like one without binary tensors."""
    parameters = output.get("parameters")
    return "data" not in output and type(parameters) is dict and parameters.get("binary_data_size") == 0


def binary_tensor(output: Json, raw: bytes, *, keeps_octets: bool = False) -> Tensor | None:
    """Read one element of ``outputs`` whose values are ``raw``: little-endian, row-major, no padding.

    Source: "Binary tensor data extension" of Triton and KServe. BYTES elements are a 4-byte length and
    that many bytes; BF16 is the upper half of an FP32.

    Args:
        output: its header.
        raw: its values.
        keeps_octets: of a BYTES element that is not UTF-8, each byte stays what it is (`decode_octets`); else all are
            taken for the Latin-1 that they may be meant as, for whoever looks for a word.
    """
    if type(output) is not dict:
        return None
    name, datatype, shape = output.get("name"), output.get("datatype"), output.get("shape")
    if type(name) is not str or type(datatype) is not str or type(shape) is not list:
        return None
    size = _size(shape)
    if size is None or (kind := _KINDS.get(datatype)) is None:
        return None
    data = (
        _length_prefixed(raw, keeps_octets=keeps_octets) if datatype == "BYTES" else _numbers(raw, datatype)
    )
    if data is None or len(data) != size:
        return None
    return _tensor(name, datatype, kind, tuple(shape), data)


def tensors_of_rows(rows: Sequence[Json], name: str) -> tuple[Tensor, ...]:
    """Turn a list with one entry per row into tensors.

    Rows of scalars or (nested) lists give one tensor called ``name``; rows that are objects with the same
    keys give one per key; rows of ``[label, score]`` pairs (TensorFlow Serving's classify) give ``label``
    and ``scores``. Anything else gives none.
    """
    if rows and type(rows[0]) is dict:
        keys = rows[0].keys()
        if all(type(row) is dict and row.keys() == keys for row in rows):
            return tensors_of_columns({key: [row[key] for row in rows] for key in keys})
        return ()
    if rows and type(rows[0]) is list and (pairs := read_scored_rows(rows)) is not None:
        return tensors_of_scored(pairs)
    tensor = tensor_of(rows, name)
    return () if tensor is None else (tensor,)


def tensors_of_columns(columns: dict[str, Json]) -> tuple[Tensor, ...]:
    """Turn an object from name to values (one per row) into tensors; irregular columns are left out."""
    found = (tensor_of(values, name) for name, values in columns.items())
    return tuple(tensor for tensor in found if tensor is not None)


def tensor_of(values: Json, name: str) -> Tensor | None:
    """Turn nested lists of like scalars, or a list of maps from class to number, into one tensor.

    A bare scalar is one row. Integers among floats are floats. ``None`` for anything irregular.
    """
    if type(values) is dict:
        values = [values]
    elif type(values) is not list:
        return _inferred(name, (1,), [values])
    if values and type(values[0]) is dict:
        return _tensor_of_maps(values, name)
    shape = [len(values)]
    data = values
    while data and type(data[0]) is list:
        width = len(data[0])
        if len(shape) == _MAX_RANK or any(type(part) is not list or len(part) != width for part in data):
            return None
        shape.append(width)
        data = list(chain.from_iterable(data))
    return _inferred(name, tuple(shape), data)


def _tensor(name: str, datatype: str, kind: Kind, shape: tuple[int, ...], data: list[Json]) -> Tensor:
    rows = shape[0] if shape else 1
    width = len(data) // rows if rows else prod(shape[1:])
    return Tensor(name, datatype, kind, shape, data, rows, width)


def _inferred(name: str, shape: tuple[int, ...], data: list[Json]) -> Tensor | None:
    types = frozenset(map(type, data))
    found = _INFERRED.get(types)
    if found is None:
        return None
    datatype, kind = found
    if type(None) in types:
        data = [_NAN if value is None else value for value in data]
    return _tensor(name, datatype, kind, shape, data)


def _tensor_of_maps(rows: list[Json], name: str) -> Tensor | None:
    """Read ``[{"cat": 0.9, "dog": 0.1}, …]``, the ZipMap form of probabilities, columns sorted by class."""
    keys = rows[0].keys()
    if not keys or any(type(row) is not dict or row.keys() != keys for row in rows):
        return None
    classes = tuple(sorted(keys))
    data = [row[key] for row in rows for key in classes]
    if not {int, float}.issuperset(map(type, data)):
        return None
    return Tensor(name, "FP64", "float", (len(rows), len(classes)), data, len(rows), len(classes), classes)


def tensors_of_scored(rows: Sequence[Pairs]) -> tuple[Tensor, ...]:
    """Turn rows of labels with scores into ``label``, and ``scores`` where every row has the same labels."""
    # Written best first or in class order, depending on the model: the score decides, not the place.
    maps = [dict(pairs) for pairs in rows]
    labels = [max(scores, key=scores.__getitem__) for scores in maps]
    label = _tensor("label", "BYTES", "bytes", (len(rows),), labels)
    scores = _tensor_of_maps(maps, "scores")
    return (label,) if scores is None else (label, scores)


def _size(shape: list[Json]) -> int | None:
    """Return the number of values of ``shape``, ``None`` if it is no shape."""
    if len(shape) > _MAX_RANK:
        return None
    size = 1
    for length in shape:
        if type(length) is not int or length < 0:
            return None
        size *= length
    return size


def _flatten(data: list[Json]) -> list[Json] | None:
    """Return the scalars of nested lists in row-major order, ``None`` where lists and scalars mix."""
    for _ in range(_MAX_RANK):
        if not data or type(data[0]) is not list:
            return data
        if any(type(part) is not list for part in data):
            return None
        data = list(chain.from_iterable(data))
    return None


def _numbers(raw: bytes, datatype: str) -> list[Json] | None:
    if datatype == "BF16":
        if len(raw) % 2:
            return None
        halves = np.frombuffer(raw, "<u2").astype("<u4") << 16
        widened: list[Json] = halves.view("<f4").tolist()
        return widened
    dtype = np.dtype(_NATIVE[datatype])
    if len(raw) % dtype.itemsize:
        return None
    values: list[Json] = np.frombuffer(raw, dtype).tolist()
    return values


def _length_prefixed(raw: bytes, *, keeps_octets: bool) -> list[Json] | None:
    decoded = decode_octets if keeps_octets else _decode_letters
    values: list[Json] = []
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw):
            return None
        values.append(decoded(raw[at + 4 : end]))
        at = end
    return values


def _decode_letters(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
