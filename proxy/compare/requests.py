"""A request's bytes → what a model is asked: the other half of ``decode``, by the same rules.

=========== =======================================================================================
``oip_v2``  ``inputs`` of the Open Inference Protocol V2, as JSON or binary after the JSON
``v1``      ``instances`` (rows), ``inputs`` (columns, or rows without a name), MLflow's
            ``dataframe_split`` and ``dataframe_records``
``openai``  ``messages``, ``prompt`` or ``input`` beside a ``model``: their texts, as a tensor of that name
others      as in ``decode``
=========== =======================================================================================
"""

from collections.abc import Sequence

from proxy.compare.completions import text_of
from proxy.compare.content import media_type
from proxy.compare.decode import decode_binary, decode_plain, is_json_type, read_named, read_values
from proxy.compare.tensors import tensors_of_columns, tensors_of_rows
from proxy.compare.values import Json, Prediction, Tensor, Undecodable

__all__ = ["decode_request"]


def decode_request(
    content_type: bytes | None, body: bytes, inference_header_length: int | None = None
) -> Prediction | Undecodable:
    """Return what a request asks, or why that cannot be told. Never raises, whatever the bytes.

    ``tensors`` are the named inputs. JSON whose type is not said (``tritonclient`` says none) is read all the same.

    Args:
        content_type: header value, or None.
        body: its content-encoding is undone.
        inference_header_length: bytes of JSON before binary tensor data.
    """
    if inference_header_length is not None and inference_header_length != len(body):
        return decode_binary(body, inference_header_length, "inputs")
    found = decode_plain(body, content_type)
    if isinstance(found, Undecodable) or not is_json_type(media_type(content_type)[0], body):
        return found
    document = found.document
    if type(document) is not dict:
        return found
    return _read_inputs(document) or _read_frame(document) or _read_asked(document) or found


def _read_inputs(document: dict[str, Json]) -> Prediction | None:
    inputs, instances = document.get("inputs"), document.get("instances")
    if type(instances) is list:
        return Prediction("v1", document, tensors_of_rows(instances, "instances"), len(instances))
    if type(inputs) is list and inputs and type(inputs[0]) is dict and "datatype" in inputs[0]:
        return read_named(document, inputs)
    if type(inputs) in (list, dict):
        return read_values(document, inputs, "inputs")
    return None


def _read_frame(document: dict[str, Json]) -> Prediction | None:
    """Read MLflow's two forms of a data frame."""
    records, split = document.get("dataframe_records"), document.get("dataframe_split")
    if type(records) is list:
        return Prediction("v1", document, tensors_of_rows(records, "dataframe_records"), len(records))
    if type(split) is not dict:
        return None
    names, rows = split.get("columns"), split.get("data")
    if type(rows) is not list:
        return None
    tensors: Sequence[Tensor] = ()
    if type(names) is list and all(type(row) is list and len(row) == len(names) for row in rows):
        columns = {name: [row[at] for row in rows] for at, name in enumerate(names) if type(name) is str}
        tensors = tensors_of_columns(columns)
    return Prediction("v1", document, tuple(tensors), len(rows))


def _read_asked(document: dict[str, Json]) -> Prediction | None:
    """Read what a generating model is asked: the texts of messages, or one text, or several."""
    for name in ("messages", "prompt", "input"):
        asked = document.get(name)
        if asked is None or "model" not in document:
            continue
        texts = (
            [asked] if type(asked) is str else [_text(each) for each in asked] if type(asked) is list else []
        )
        known = [text for text in texts if text is not None]
        if not known:
            continue
        tensor = Tensor(name, "BYTES", "bytes", (len(known),), list(known), len(known), 1)
        return Prediction("openai", document, (tensor,), len(known) if name != "messages" else 1)
    return None


def _text(asked: Json) -> str | None:
    """Return the text of one message or prompt; ``None`` where it is tokens."""
    if type(asked) is str:
        return asked
    return text_of(asked.get("content")) if type(asked) is dict else None
