"""Bodies as real servers and clients write them, one or more of each format: what mutations begin with."""

import base64
import gzip
import struct
import sys
import zlib
from typing import Any, Final, NamedTuple

import brotli
import orjson

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BODIES", "Body", "event_stream", "zstd"]

JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream"


class Body(NamedTuple):
    """A body with what its head says of it."""

    data: bytes
    kind: bytes | None = JSON
    coding: bytes | None = None
    header_length: int | None = None


def event_stream(*documents: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """Return documents as server-sent events."""
    return b"".join(b"data: " + orjson.dumps(document) + b"\n\n" for document in documents) + end


def _lines(*documents: Any) -> bytes:
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


def _chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1795284000, "model": "m"}
    return {**head, "choices": [choice]}


def _binary(key: str, *tensors: tuple[str, list[int], bytes]) -> Body:
    listed = [
        {"name": f"t{at}", "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for at, (kind, shape, raw) in enumerate(tensors)
    ]
    head = orjson.dumps(
        {"model_name": "m", key: [*listed, {"name": "j", "datatype": "INT8", "shape": [1], "data": [5]}]}
    )
    data = head + b"".join(raw for _, _, raw in tensors)
    return Body(data, b"application/octet-stream", None, len(head))


_TEXTS: Final = b"".join(
    struct.pack("<I", len(text)) + text for text in (b"cat", b"", "dög".encode(), b"\xff\x00")
)
_TENSORS: Final = (
    ("BOOL", [2], b"\x01\x00"),
    ("INT8", [2, 1], struct.pack("<2b", -1, 2)),
    ("INT64", [1], struct.pack("<q", -(2**63))),
    ("UINT64", [1], struct.pack("<Q", 2**64 - 1)),
    ("FP16", [2], struct.pack("<2e", 0.5, -2.0)),
    ("BF16", [2], b"\x80\x3f\x00\xc0"),
    ("FP32", [1, 2], struct.pack("<2f", 0.25, float("nan"))),
    ("FP64", [0, 3], b""),
    ("BYTES", [4], _TEXTS),
)
_OIP: Final = orjson.dumps(
    {
        "model_name": "wine",
        "id": "9f1c",
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [2, 1], "data": [[0], [2]]},
            {"name": "proba", "datatype": "FP64", "shape": [2, 2], "data": [0.9, 0.1, 0.2, 0.8]},
            {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["cat", "dög"]},
        ],
    }
)
_CALL: Final = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
_CHAT: Final = event_stream(
    _chunk(role="assistant", content=""),
    _chunk(content="Hel"),
    _chunk(content="lo wörld"),
    _chunk(tool_calls=[_CALL]),
    _chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a": [1, 2.5]}'}}]),
    _chunk("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}},
)
_WHOLE: Final = orjson.dumps(
    {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
)
_ROWS: Final = orjson.dumps(
    {"predictions": [{"scores": [0.9, 0.1], "label": "a"}, {"scores": [0.2, 0.8], "label": "b"}]}
)
_VECTORS: Final = [0.5, -0.25, 1e-7]
_PACKED: Final = base64.b64encode(struct.pack("<3f", *_VECTORS)).decode()
_EMBEDDINGS: Final = orjson.dumps(
    {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": _VECTORS},
            {"object": "embedding", "index": 1, "embedding": _PACKED},
        ],
        "usage": {"prompt_tokens": 2},
    }
)
_RESPONSES: Final = event_stream(
    {"type": "response.created", "response": {"object": "response", "status": "in_progress", "output": []}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Hel"},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "lo"},
    {
        "type": "response.completed",
        "response": {
            "object": "response",
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
    },
    end=b"",
)
_ANTHROPIC: Final = b"".join(
    b"event: %s\ndata: %s\n\n" % (str(document["type"]).encode(), orjson.dumps(document))
    for document in (
        {
            "type": "message_start",
            "message": {"type": "message", "content": [], "usage": {"input_tokens": 3}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )
)
_OLLAMA: Final = _lines(
    {"model": "m", "message": {"role": "assistant", "content": "Hel"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": "lo"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 2},
)
_TGI: Final = event_stream(
    {"index": 1, "token": {"id": 5, "text": "Hel", "special": False}, "generated_text": None},
    {
        "index": 2,
        "token": {"id": 6, "text": "lo", "special": False},
        "generated_text": "Hello",
        "details": {"generated_tokens": 2},
    },
    end=b"",
)
_GEMINI: Final = [
    {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    }
    for part, finish in (
        ({"text": "Hel"}, None),
        ({"functionCall": {"name": "f", "args": {"a": 1}}}, None),
        ({"text": "lo"}, "STOP"),
    )
]
_COHERE: Final = event_stream(
    {"id": "c", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
    {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {"id": "1", "function": {"name": "f", "arguments": "{}"}}}},
    },
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 3}}}},
    end=b"",
)
_SGLANG: Final = event_stream(
    {"text": "Hel", "meta_info": {"finish_reason": None}},
    {"text": "Hello", "meta_info": {"finish_reason": {"type": "stop"}, "prompt_tokens": 3}},
)


def _text_output(text: str) -> dict[str, Any]:
    output = {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    return {"model_name": "m", "outputs": [output]}


_CSV: Final = b'label,score,note\r\ncat,0.9,"a, b"\r\ndog,,"two\nlines ""quoted"""\r\n'

BODIES: Final[dict[str, Body]] = {
    "OIP": Body(_OIP),
    "OIP, gzip": Body(gzip.compress(_OIP, mtime=0), coding=b"gzip"),
    "OIP, deflate": Body(zlib.compress(_OIP), coding=b"deflate"),
    "OIP, br": Body(brotli.compress(_OIP), coding=b"br"),
    "OIP, zstd": Body(zstd.compress(_OIP), coding=b"zstd"),
    "OIP, binary": _binary("outputs", *_TENSORS),
    "OIP, binary request": _binary("inputs", *_TENSORS),
    "V1 rows": Body(_ROWS),
    "V1 columns": Body(b'{"outputs": {"label": ["a", "b"], "score": [NaN, Infinity]}}'),
    "MLflow": Body(b'{"predictions": {"a": [1, 2], "b": [[0.5], [1e300]]}}'),
    "MLflow, request": Body(b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, null]]}}'),
    "chat": Body(_WHOLE),
    "chat, streamed": Body(_CHAT, EVENTS),
    "chat, streamed with CRLF": Body(_CHAT.replace(b"\n", b"\r\n"), EVENTS),
    "chat, request": Body(
        b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}'
    ),
    "responses, streamed": Body(_RESPONSES, EVENTS),
    "embeddings": Body(_EMBEDDINGS),
    "embeddings, Cohere": Body(
        b'{"id": "c", "embeddings": {"float": [[0.5, -1.0]], "base64": ["AAAAAA=="]}}'
    ),
    "embeddings, Vertex AI": Body(b'{"predictions": [{"embeddings": {"values": [0.5, 1]}}], "metadata": {}}'),
    "embeddings, llama.cpp": Body(
        b'[{"index": 1, "embedding": [[0.5, 1]]}, {"index": 0, "embedding": [[1, 2]]}]'
    ),
    "a row with its id": Body(
        b'{"id": "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a", "meta": {"puid": "a"}, "y": 1}'
    ),
    "classes beside scores": Body(b'[[{"label": "a", "score": 0.7}, {"label": "b", "score": 0.3}]]'),
    "zero-shot": Body(b'{"sequence": "x", "labels": ["a", "b"], "scores": [0.7, 0.3]}'),
    "TorchServe": Body(b'{"a": 0.4, "b": 0.3, "c": 0.1, "d": 0.05, "e": 0.01}'),
    "reranked": Body(
        b'{"id": "c", "results": [{"index": 2, "relevance_score": 0.9, "document": {"text": "a"}}]}'
    ),
    "boxes": Body(b'[{"score": 0.9, "label": "a", "box": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}}]'),
    "boxes, Roboflow": Body(
        b'{"predictions": [{"x": 1, "y": 2.5, "width": 3, "height": 4, "class": "a", "confidence": 0.9}]}'
    ),
    "Seldon": Body(b'{"data": {"names": ["a", "b"], "ndarray": [[0.9, 0.1]]}, "meta": {"puid": "x"}}'),
    "Seldon, flat": Body(b'{"data": {"tensor": {"shape": [1, 2], "values": [0.9, 0.1]}}}'),
    "Anthropic, streamed": Body(_ANTHROPIC, EVENTS),
    "Ollama, streamed": Body(_OLLAMA, b"application/x-ndjson"),
    "text-generation-inference, streamed": Body(_TGI, EVENTS),
    "Gemini, streamed": Body(event_stream(*_GEMINI, end=b""), EVENTS),
    "Gemini, a list": Body(orjson.dumps(_GEMINI)),
    "Cohere, streamed": Body(_COHERE, EVENTS),
    "SGLang, streamed": Body(_SGLANG, EVENTS),
    "MLServer, streamed": Body(event_stream(*map(_text_output, ("Hel", "lo")), end=b""), EVENTS),
    "a transcription, streamed": Body(
        event_stream(
            {"type": "transcript.text.delta", "delta": "Hello"},
            {"type": "transcript.text.done", "text": "Hello", "usage": {"output_tokens": 2}},
            end=b"",
        ),
        EVENTS,
    ),
    "ONNX Runtime": Body(
        b'{"outputs": {"y": {"dims": ["1", "2"], "dataType": 1, "rawData": "AAAAPwAAID4="}, '
        b'"n": {"dims": [1], "dataType": "INT64", "int64Data": ["9"]}}}'
    ),
    "TensorFlow, protobuf": Body(
        b'{"outputs": {"y": {"dtype": "DT_HALF", "tensorShape": {"dim": [{"size": "2"}]}, '
        b'"halfVal": [15360]}}, "modelSpec": {"name": "m"}}'
    ),
    "classes of vLLM": Body(
        b'{"object": "list", "data": [{"index": 0, "label": "a", "probs": [0.75, 0.25], "num_classes": 2}]}'
    ),
    "scores of vLLM": Body(b'{"object": "list", "data": [{"index": 0, "object": "score", "score": 0.5}]}'),
    "moderation": Body(
        b'{"id": "modr-1", "results": '
        b'[{"flagged": true, "categories": {"hate": true}, "category_scores": {"hate": 0.9}}]}'
    ),
    "images": Body(b'{"created": 1, "data": [{"b64_json": "AA=="}, {"url": "https://host/a"}]}'),
    "boxes, Detectron2": Body(
        b'{"instances": {"pred_boxes": [[1, 2, 3, 4.5]], "scores": [0.9], "pred_classes": [1]}}'
    ),
    "boxes, Vertex AI": Body(
        b'{"predictions": [{"displayNames": ["a"], "bboxes": [[0.1, 0.2, 0.3, 0.4]], "confidences": [0.9]}]}'
    ),
    "Custom Vision": Body(b'{"predictions": [{"probability": 0.9, "tagName": "a", "tagType": "Regular"}]}'),
    "Bedrock": Body(
        b'{"output": {"message": {"content": [{"text": "a"}, {"toolUse": {"name": "f", "input": {}}}]}}, '
        b'"stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2}}'
    ),
    "a chat without a type": Body(_CHAT, None),
    "Ollama, as JSON": Body(_OLLAMA),
    "lines": Body(_lines({"y": 1}, {"y": 2.5}, {"y": None}), b"application/jsonlines"),
    "CSV": Body(_CSV, b"text/csv; charset=utf-8"),
    "CSV, numbers": Body(b"0.1,0.9\n0.8,0.2\n-inf,1e-3\n", b"text/csv; header=absent"),
    "text": Body("Hello wörld".encode(), b"text/plain; charset=utf-8"),
}
