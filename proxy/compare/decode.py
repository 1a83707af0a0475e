"""A response's bytes → what it says.

Formats, told apart by what the answer is and not by the path it came from:

=========== =======================================================================================
``openai``  OpenAI's chat, completions and responses, also streamed: server-sent events, assembled into
            the answer in one piece (``streams``); embeddings, as numbers or base64; scores, classes and
            moderation, of each text that was sent (``graded``)
``oip_v2``  Open Inference Protocol V2: ``{"outputs": [{"name", "datatype", "shape", "data"}]}``,
            data flat or nested, or binary after the JSON (``Inference-Header-Content-Length``); as
            server-sent events (MLServer's ``infer_stream``), what they add up to; one a line, the rows of
            all; protobuf's JSON of tensors (``protobufs``), written as above
``v1``      TensorFlow Serving and KServe V1: ``{"predictions": [row, …]}``; columnar
            ``{"outputs": {name: [value per row]}}``, MLflow's ``{"predictions": {name: [value per row]}}``;
            classify and regress ``{"results": [row, …]}``; Seldon's ``{"data": {"ndarray": [row, …]}}``
``csv``     ``text/csv``: rows of fields, or of objects where it has a header (``delimited``)
``ndjson``  a JSON value per line, or per server-sent event: the list of them
``json``    any other JSON, and an envelope of the above whose values do not fit its own header; other services'
            streams of generated text, assembled
``text``    text that is not JSON
``bytes``   everything else, and the empty body
=========== =======================================================================================

Whatever says what a model generated has a ``completion`` beside its document, in whichever format.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from proxy.compare.completions import COMPLETION_SIGNS, is_openai, read_completion
from proxy.compare.content import decode_content, decode_text, media_parameter, media_type, parse_json
from proxy.compare.delimited import read_delimited, tensors_of_delimited
from proxy.compare.embeddings import VECTOR_SIGNS, read_embeddings
from proxy.compare.events import Piece, read_events, read_lines
from proxy.compare.graded import GRADED_SIGNS, read_graded
from proxy.compare.protobufs import read_protobufs
from proxy.compare.scored import read_alternatives, read_scored_rows
from proxy.compare.streams import DONE, assemble_body, assemble_list, parse_piece
from proxy.compare.tensors import (
    binary_tensor,
    oip_tensor,
    tensor_of,
    tensors_of_columns,
    tensors_of_rows,
    tensors_of_scored,
)
from proxy.compare.values import (
    DECODED_CAP_BYTES,
    Format,
    Json,
    LateTensors,
    Prediction,
    Tensor,
    Undecodable,
)

__all__ = [
    "ROW_KEYS",
    "cutter_of",
    "decode",
    "decode_binary",
    "decode_plain",
    "is_json_type",
    "read_assembled",
    "read_csv",
    "read_named",
    "read_values",
    "unsaid_cutter_of",
]

ROW_KEYS: Final = ("predictions", "results", "result")
"""Keys of V1 answers that list rows; the last two, of classify and regress, only alone in their object."""

_SNIFFED: Final = frozenset(
    {
        b"",
        b"*/*",
        b"application/octet-stream",
        b"application/x-json",
        b"binary/octet-stream",
        b"text/json",
        b"text/plain",
    }
)
"""Types under which servers send JSON without saying so: several frameworks' defaults, and what SageMaker's containers
make of a request that accepts anything."""

_FRAMED: Final = (b"application/grpc", b"application/vnd.amazon.eventstream", b"multipart/")
"""How types begin whose bytes hold a boundary, padding or times beside the answer: Bedrock's streams are such."""

_EVENTS: Final = b"text/event-stream"
_CSV: Final = b"text/csv"
_LINES: Final = frozenset(
    {
        b"application/jsonl",
        b"application/jsonlines",
        b"application/ndjson",
        b"application/stream+json",
        b"application/x-jsonlines",
        b"application/x-ndjson",
    }
)
"""Types of a JSON value per line: there is no registered one."""

_EVENT_BEGINNINGS: Final = (b"data:", b"event:", b": ")
_NUMBER: Final = re.compile(
    rb"\s{0,8}-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\s{0,8}"
)
"""A number as JSON has it, which says more than a text of digits: how near another one is."""
_UNFINISHED_EVENT: Final = re.compile(rb"(?:^|[\r\n])data")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_BAD_TENSOR: Final = Undecodable("bad_tensor")
_CUT: Final = Undecodable("cut")
_INVALID: Final = Undecodable("invalid_json")
_UNSUPPORTED_TYPE: Final = Undecodable("unsupported_type")


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
        return decode_binary(body, inference_header_length, "outputs")
    kind, charset = media_type(content_type)
    cut = cutter_of(kind)
    if cut is not None:
        return _read_stream(body, cut)
    if kind == _CSV:
        return read_csv(body, content_type)
    if kind.startswith(_FRAMED):
        return _UNSUPPORTED_TYPE
    if is_json_type(kind, body):
        document = parse_json(body, charset, keeps_octets=True)
        if type(document) is dict:  # most are
            return _read_object(document)
        if not isinstance(document, Undecodable):
            return _read_document(document)
        if kind not in _SNIFFED:
            return _read_unsaid_stream(body, read_lines) or document
        return _read_unsaid_stream(body, read_lines) or _read_bytes(body, charset)
    if kind in _SNIFFED and body.startswith(_EVENT_BEGINNINGS):
        return _read_unsaid_stream(body, read_events) or _read_bytes(body, charset)
    if kind in _SNIFFED and _NUMBER.fullmatch(body):
        return _read_document(parse_json(body))
    return _read_bytes(body, charset)


def is_json_type(kind: bytes, body: bytes) -> bool:
    """Whether a body is JSON by its type, or may be by its first byte where the type says nothing."""
    if kind == b"application/json" or kind.endswith(b"+json"):
        return True
    return kind in _SNIFFED and body.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] in (b"{", b"[")


def cutter_of(kind: bytes) -> Callable[[bytes], Iterator[Piece]] | None:
    """Return what cuts a body of the media type ``kind`` into pieces; ``None`` if it does not come in pieces."""
    if kind == _EVENTS:
        return read_events
    return read_lines if kind in _LINES else None


def unsaid_cutter_of(kind: bytes, body: bytes) -> Callable[[bytes], Iterator[Piece]] | None:
    """Return what cuts a body that is no JSON into pieces where it may be a stream that is sent under another type."""
    if kind in _SNIFFED and body.startswith(_EVENT_BEGINNINGS):
        return read_events
    return read_lines if is_json_type(kind, body) else None


def _read_bytes(body: bytes, charset: bytes = b"") -> Prediction:
    text = decode_text(body, charset)
    return Prediction("bytes", body) if text is None else Prediction("text", text)


def _read_stream(body: bytes, cut: Callable[[bytes], Iterator[Piece]]) -> Prediction | Undecodable:
    """Read a body in pieces: as the answer they add up to, else as a list of what they say."""
    assembled = assemble_body(body, cut)
    if assembled is None:
        return _read_pieces(body, cut)
    if isinstance(assembled, Undecodable):
        return assembled
    return _read_assembled(assembled.document, are_lines=cut is read_lines)


def read_assembled(body: bytes) -> Prediction | Undecodable:
    """Return what a stream says of which only what it added up to was kept, as JSON: the same as the stream itself."""
    document = parse_json(body)
    return document if isinstance(document, Undecodable) else _read_assembled(document)


def _read_assembled(document: Json, *, are_lines: bool = False) -> Prediction:
    completion = read_completion(document, is_streamed=True)
    outputs = document.get("outputs") if type(document) is dict else None
    if type(outputs) is list and outputs:
        # Lines are rows of a batch, which a text may as well be a label in.
        return read_named(document, outputs)._replace(completion=None if are_lines else completion)
    rows = None if completion is None else len(completion.choices)
    return Prediction("openai" if is_openai(document) else "json", document, (), rows, completion)


def _read_unsaid_stream(
    body: bytes, cut: Callable[[bytes], Iterator[Piece]]
) -> Prediction | Undecodable | None:
    """Read a stream that is sent under another type (Ollama's and some frameworks' default); ``None`` if it is none."""
    first = next(cut(body), None)
    if first is None or isinstance(parse_piece(first.data), Undecodable):
        return None
    found = _read_stream(body, cut)
    is_stream = found.format not in ("text", "bytes") if isinstance(found, Prediction) else found != _INVALID
    return found if is_stream else None


def _read_pieces(body: bytes, cut: Callable[[bytes], Iterator[Piece]]) -> Prediction | Undecodable:
    rows: list[Json] = []
    is_empty = True
    for data, _ in cut(body):
        is_empty = False
        if data.strip() == DONE:
            break
        row = parse_piece(data) if cut is read_events else parse_json(data, keeps_octets=True)
        if isinstance(row, Undecodable):
            # Events may hold anything; lines are called JSON by their type.
            return _read_bytes(body) if cut is read_events else row
        rows.append(row)
    if is_empty and cut is read_events:
        return _read_eventless(body)
    return Prediction("ndjson", rows, _tensors_of_answers(rows, "predictions"), len(rows))


def _read_eventless(body: bytes) -> Prediction | Undecodable:
    """Read an event stream without any event: one cut in its first, JSON or text under its type, or nothing."""
    if _UNFINISHED_EVENT.search(body):
        return _CUT
    document = parse_json(body, keeps_octets=True) if is_json_type(b"", body) else _INVALID
    if not isinstance(document, Undecodable):
        return _read_document(document)
    has_fields = body.removeprefix(_BYTE_ORDER_MARK).strip().startswith((b":", b"event", b"id", b"retry"))
    return Prediction("ndjson", [], (), 0) if has_fields or not body.strip() else _read_bytes(body)


def read_csv(body: bytes, content_type: bytes | None) -> Prediction | Undecodable:
    """Read comma-separated values, in any charset that JSON may come in; text where they are not regular."""
    text = decode_text(body, media_type(content_type)[1])
    if text is None:
        return Prediction("bytes", body)
    rows = read_delimited(text, media_parameter(content_type, b"header"))
    if rows is None:
        return Prediction("text", text)
    if isinstance(rows, Undecodable):
        return rows
    return Prediction("csv", rows, tensors_of_delimited(rows), len(rows))


def _read_document(document: Json) -> Prediction | Undecodable:
    if type(document) is dict:
        return _read_object(document)
    if type(document) is list:
        assembled = assemble_list(document)
        if assembled is not None:
            return assembled if isinstance(assembled, Undecodable) else _read_assembled(assembled.document)
        if (embeddings := _read_vectors(document)) is not None:
            return embeddings
        completion = read_completion(document)
        rows = None if completion is None else len(document)
        return Prediction("json", document, _tensors_of_list(document), rows, completion)
    tensor = tensor_of(document, "predictions")
    return Prediction("json", document, () if tensor is None else (tensor,))


def _read_object(document: dict[str, Json]) -> Prediction:
    outputs = document.get("outputs")
    if type(outputs) is list and outputs and type(outputs[0]) is dict and "datatype" in outputs[0]:
        return read_named(document, outputs)
    rows = document.get("predictions")
    if type(rows) is list:
        if rows and type(rows[0]) is dict and (found := _read_parts(document, rows)) is not None:
            return found
        return Prediction("v1", document, _tensors_of_answers(rows, "predictions"), len(rows))
    if type(rows) is dict and _are_columns(rows):
        return read_values(document, rows, "predictions")
    if type(outputs) is dict and (named := read_protobufs(outputs)) is not None:
        listed, tensors = named
        return Prediction("oip_v2", {**document, "outputs": listed}, tuple(tensors), _common_rows(tensors))
    if len(document) == 1 and type(outputs) in (list, dict):
        return read_values(document, outputs, "outputs")
    if len(document) == 1 and type(rows := document.get("results", document.get("result"))) is list:
        return Prediction("v1", document, _tensors_of_answers(rows, "results"), len(rows))
    if document.keys().isdisjoint(_SIGNS):
        return _read_row(document)
    return (
        _read_generated(document) or _read_graded(document) or _read_seldon(document) or _read_row(document)
    )


_SIGNS: Final = COMPLETION_SIGNS | VECTOR_SIGNS | GRADED_SIGNS | {"data"}
"""Members without any of which a document is none of a generating or embedding model's, of grades, or of Seldon's."""


def _read_parts(document: dict[str, Json], rows: list[Json]) -> Prediction | None:
    """Read predictions that are the parts of one: Vertex AI's vectors, Custom Vision's tags of an image."""
    if "embeddings" in rows[0]:
        return _read_vectors(document)
    pairs = read_alternatives(rows, least=1) if "tagName" in rows[0] else None
    return None if pairs is None else Prediction("v1", document, tensors_of_scored([pairs]), 1)


def _read_graded(document: dict[str, Json]) -> Prediction | None:
    """Read what a service says of each text that it was given."""
    graded = read_graded(document)
    return None if graded is None else Prediction("openai", document, graded.tensors, graded.rows)


def _read_row(document: Json) -> Prediction:
    # One row, not columns: a list in it may be a batch or a vector, and "one row" never hides a change.
    return Prediction("json", document, _tensors_of_answers([document], "predictions"))


def _tensors_of_answers(rows: list[Json], name: str) -> Sequence[Tensor]:
    """Read rows of an answer; what looks like a class and its score in a request is a feature."""
    scored = read_scored_rows(rows)
    if scored is not None:
        return tensors_of_scored(scored)
    if rows and type(rows[0]) is dict:  # most are compared as they are
        return LateTensors(partial(tensors_of_rows, rows, name))
    return tensors_of_rows(rows, name)


def _tensors_of_list(document: list[Json]) -> Sequence[Tensor]:
    alternatives = read_alternatives(document)
    if alternatives is not None:
        return tensors_of_scored([alternatives])
    return _tensors_of_answers(document, "predictions")


def _read_seldon(document: dict[str, Json]) -> Prediction | None:
    """Read Seldon's protocol: rows as ``ndarray``, or flat as ``tensor``."""
    data = document.get("data")
    rows = data.get("ndarray") if type(data) is dict else None
    if type(rows) is list:
        return Prediction("v1", document, _tensors_of_answers(rows, "predictions"), len(rows))
    flat = data.get("tensor") if type(data) is dict else None
    if type(flat) is not dict:
        return None
    shape, values = flat.get("shape"), flat.get("values")
    tensor = oip_tensor({"name": "predictions", "datatype": "FP64", "shape": shape, "data": values})
    return None if tensor is None else Prediction("v1", document, (tensor,), tensor.rows)


def _read_generated(document: Json) -> Prediction | None:
    """Read what a generating or embedding model says; ``None`` for all others."""
    completion = read_completion(document)
    if completion is not None:
        form: Format = "openai" if is_openai(document) else "json"
        return Prediction(form, document, (), len(completion.choices), completion)
    return _read_vectors(document)


def _read_vectors(document: Json) -> Prediction | None:
    """Read embeddings, in whichever envelope."""
    embeddings = read_embeddings(document)
    if embeddings is None:
        return None
    form: Format = "openai" if type(document) is dict and "data" in document else "json"
    document, tensor = embeddings
    return Prediction(form, document, (tensor,), tensor.rows)


def _are_columns(values: dict[str, Json]) -> bool:
    """Whether an object has a list for each name, all of one length."""
    lengths = {len(value) if type(value) is list else -1 for value in values.values()}
    return len(lengths) == 1 and -1 not in lengths


def read_named(document: Json, outputs: list[Json]) -> Prediction:
    """Read the ``outputs`` (or ``inputs``) of the Open Inference Protocol."""
    if len(outputs) == 1 and (only := oip_tensor(outputs[0])) is not None:
        return Prediction("oip_v2", document, (only,), only.rows)
    tensors: list[Tensor] = []
    for output in outputs:
        tensor = oip_tensor(output)
        if tensor is None:
            return Prediction("json", document)
        tensors.append(tensor)
    return Prediction("oip_v2", document, tuple(tensors), _common_rows(tensors))


def read_values(document: Json, values: Json, name: str) -> Prediction:
    """Read TensorFlow Serving's columnar form; a model with one output sends it without a name, as rows."""
    tensors = tensors_of_columns(values) if type(values) is dict else tensors_of_rows(values, name)
    return Prediction("v1", document, tensors, _common_rows(tensors))


def _common_rows(tensors: Sequence[Tensor]) -> int | None:
    """Return the batch size all tensors agree on, else None."""
    if len(tensors) == 1:
        return tensors[0].rows
    counts = {tensor.rows for tensor in tensors}
    return counts.pop() if len(counts) == 1 else None


def decode_binary(body: bytes, header_length: int, key: str) -> Prediction | Undecodable:
    """Read JSON followed by the raw values of those tensors that have ``binary_data_size``, in order.

    Args:
        body: both.
        header_length: bytes of JSON.
        key: what the tensors are called: ``outputs`` or ``inputs``.
    """
    if not 0 < header_length <= len(body):
        return _BAD_TENSOR
    document = parse_json(body[:header_length], keeps_octets=True)
    if isinstance(document, Undecodable):
        return document
    outputs = document.get(key) if type(document) is dict else None
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
            tensor = binary_tensor(output, body[at : at + size], keeps_octets=True)
            at += size
        if tensor is None:
            return _BAD_TENSOR
        tensors.append(tensor)
        filled.append({**output, "data": tensor.data})
    if at != len(body):
        return _BAD_TENSOR
    return Prediction("oip_v2", {**document, key: filled}, tuple(tensors), _common_rows(tensors))


def _binary_size(output: Json) -> int | None:
    parameters = output.get("parameters") if type(output) is dict else None
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    return size if type(size) is int and size >= 0 else None
