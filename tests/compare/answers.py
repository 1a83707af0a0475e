"""Answers, as short as a test wants to write them."""

from typing import Any

import orjson

from proxy.compare import Answer

__all__ = ["bare", "chat", "json_answer", "oip", "text_answer", "v1"]


def json_answer(document: Any, **fields: Any) -> Answer:
    """Return JSON, or the given bytes as such."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Answer(200, b"application/json", None, body)._replace(**fields)


def oip(*outputs: tuple[str, str, list[int], list[Any]], **fields: Any) -> Answer:
    """Return outputs of the Open Inference Protocol: name, datatype, shape, data."""
    named = [{"name": n, "datatype": d, "shape": s, "data": v} for n, d, s, v in outputs]
    return json_answer({"model_name": "m", "outputs": named, **fields})


def v1(*rows: Any) -> Answer:
    """Return predictions, one per row."""
    return json_answer({"predictions": list(rows)})


def bare(body: bytes, encoding: bytes | None = None) -> Answer:
    """Return text of no charset, as sent: in a coding, perhaps."""
    return Answer(200, b"text/plain", encoding, body)


def text_answer(text: str) -> Answer:
    """Return plain text."""
    return Answer(200, b"text/plain; charset=utf-8", None, text.encode())


def chat(*texts: str | None, finish: str | None = "stop", **message: Any) -> Answer:
    """Return what OpenAI's chat answers, one choice for each text."""
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": text, **message},
                    "finish_reason": finish,
                }
                for index, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        }
    )
