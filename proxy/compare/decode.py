"""A response's bytes → what it says.

Formats, told apart by what the answer is and not by the path it came from:

=========== =======================================================================================
``oip_v2``  Open Inference Protocol V2: ``{"outputs": [{"name", "datatype", "shape", "data"}]}``,
            data flat or nested, or binary after the JSON (``Inference-Header-Content-Length``)
``v1``      TensorFlow Serving and KServe V1: ``{"predictions": [row, …]}``; columnar
            ``{"outputs": {name: [value per row]}}``; classify and regress ``{"results": [row, …]}``
``json``    any other JSON, and an envelope of the above whose values do not fit its own header
``text``    text that is not JSON
``bytes``   everything else, and the empty body
=========== =======================================================================================
"""

from typing import Final

from proxy.compare.content import decode_content, media_type, parse_json
from proxy.compare.tensors import (
    binary_tensor,
    oip_tensor,
    tensor_of,
    tensors_of_columns,
    tensors_of_rows,
)
from proxy.compare.values import DECODED_CAP_BYTES, Json, Prediction, Tensor, Undecodable

__all__ = ["ROW_KEYS", "decode", "decode_plain"]

ROW_KEYS: Final = ("predictions", "results", "result")
"""Keys of V1 answers that list rows; the last two, of classify and regress, only alone in their object."""

_SNIFFED: Final = frozenset({b"", b"text/plain", b"text/json", b"application/octet-stream"})
"""Types under which servers send JSON without saying so (several frameworks' defaults)."""

_BAD_TENSOR: Final = Undecodable("bad_tensor")


def decode(
    status: int,
    content_type: bytes | None,
    content_encoding: bytes | None,
    body: bytes,
    inference_header_length: int | None = None,
    cap_bytes: int = DECODED_CAP_BYTES,
    *,
    truncated: bool = False,
) -> Prediction | Undecodable:
    """Return what a response says, or why that cannot be told. Never raises, whatever the bytes.

    Args:
        status: HTTP status; only 2xx answers hold predictions.
        content_type: header value, or None.
        content_encoding: header value, or None.
        body: as sent, encoded as ``content_encoding`` says.
        inference_header_length: bytes of JSON before binary tensor data, counted after decoding.
        cap_bytes: cap of each decoded layer of a compressed body.
        truncated: ``body`` is only the head of what was sent.
    """
    if not 200 <= status < 300:
        return Undecodable("status")
    if truncated:
        return Undecodable("truncated")
    plain = decode_content(body, content_encoding, cap_bytes)
    if isinstance(plain, Undecodable):
        return plain
    return decode_plain(plain, content_type, inference_header_length)


def decode_plain(
    body: bytes, content_type: bytes | None, inference_header_length: int | None = None
) -> Prediction | Undecodable:
    """Return what a body says whose content-encoding is already undone."""
    if not body:
        return Prediction("bytes", b"")
    if inference_header_length is not None and inference_header_length != len(body):
        return _decode_binary_oip(body, inference_header_length)
    kind, charset = media_type(content_type)
    if kind == b"application/json" or kind.endswith(b"+json"):
        document = parse_json(body, charset)
        return document if isinstance(document, Undecodable) else _read_document(document)
    if kind in _SNIFFED and body.lstrip()[:1] in (b"{", b"["):
        document = parse_json(body, charset)
        if not isinstance(document, Undecodable):
            return _read_document(document)
    try:
        return Prediction("text", body.decode())
    except UnicodeDecodeError:
        return Prediction("bytes", body)


def _read_document(document: Json) -> Prediction:
    if type(document) is dict:
        outputs = document.get("outputs")
        if type(outputs) is list and outputs and type(outputs[0]) is dict and "datatype" in outputs[0]:
            return _read_oip(document, outputs)
        rows = document.get("predictions")
        if type(rows) is list:
            return Prediction("v1", document, tensors_of_rows(rows, "predictions"), len(rows))
        if len(document) == 1 and type(outputs) in (list, dict):
            return _read_columns(document, outputs)
        if len(document) == 1 and type(rows := document.get("results", document.get("result"))) is list:
            return Prediction("v1", document, tensors_of_rows(rows, "results"), len(rows))
        # One row, not columns: a list in it may be a batch or a vector, and "one row" never hides a change.
        return Prediction("json", document, tensors_of_rows([document], "predictions"))
    if type(document) is list:
        return Prediction("json", document, tensors_of_rows(document, "predictions"))
    tensor = tensor_of(document, "predictions")
    return Prediction("json", document, () if tensor is None else (tensor,))


def _read_oip(document: Json, outputs: list[Json]) -> Prediction:
    if len(outputs) == 1 and (only := oip_tensor(outputs[0])) is not None:
        return Prediction("oip_v2", document, (only,), only.rows)
    tensors: list[Tensor] = []
    for output in outputs:
        tensor = oip_tensor(output)
        if tensor is None:
            return Prediction("json", document)
        tensors.append(tensor)
    return Prediction("oip_v2", document, tuple(tensors), _common_rows(tensors))


def _read_columns(document: Json, outputs: Json) -> Prediction:
    """Read TensorFlow Serving's columnar form; a model with one output sends it without a name."""
    named = type(outputs) is dict
    tensors = tensors_of_columns(outputs) if named else tensors_of_rows(outputs, "outputs")
    return Prediction("v1", document, tensors, _common_rows(tensors))


def _common_rows(tensors: list[Tensor] | tuple[Tensor, ...]) -> int | None:
    """Return the batch size all tensors agree on, else None."""
    if len(tensors) == 1:
        return tensors[0].rows
    counts = {tensor.rows for tensor in tensors}
    return counts.pop() if len(counts) == 1 else None


def _decode_binary_oip(body: bytes, header_length: int) -> Prediction | Undecodable:
    """Read JSON followed by the raw values of those outputs that have ``binary_data_size``, in order."""
    if not 0 < header_length <= len(body):
        return _BAD_TENSOR
    document = parse_json(body[:header_length])
    if isinstance(document, Undecodable):
        return document
    outputs = document.get("outputs") if type(document) is dict else None
    if type(outputs) is not list:
        return _BAD_TENSOR
    tensors: list[Tensor] = []
    filled: list[Json] = []
    at = header_length
    for output in outputs:
        size = _binary_size(output)
        if size is None:
            tensor = oip_tensor(output)
        else:
            tensor = binary_tensor(output, body[at : at + size])
            at += size
        if tensor is None:
            return _BAD_TENSOR
        tensors.append(tensor)
        filled.append({**output, "data": tensor.data})
    if at != len(body):
        return _BAD_TENSOR
    return Prediction("oip_v2", {**document, "outputs": filled}, tuple(tensors), _common_rows(tensors))


def _binary_size(output: Json) -> int | None:
    parameters = output.get("parameters") if type(output) is dict else None
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    return size if type(size) is int and size >= 0 else None
