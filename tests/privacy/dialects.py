"""Streams of every dialect, made of the pieces of a text: what a model said, cut wherever one likes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

__all__ = ["DIALECTS", "EVENTS", "LINES", "Dialect", "body_of", "chunk"]

EVENTS = b"text/event-stream"
LINES = b"application/x-ndjson"
LIST = b"application/json; charset=utf-8"
"""A stream that comes as one list of its pieces."""

_Stream = tuple[bytes, list[Any]]
Dialect = Callable[[Sequence[str]], _Stream]
"""Texts, one for each piece → content type and documents, one for each event."""


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c-7", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def _tokens(text: str) -> dict[str, Any]:
    told = {"token": text, "bytes": list(text.encode()), "logprob": -0.5}
    return {"logprobs": {"content": [{**told, "top_logprobs": [told]}]}}


def chat(texts: Sequence[str]) -> _Stream:
    said = [chunk(content=text) for text in texts]
    for each, text in zip(said, texts, strict=True):
        each["choices"][0] |= _tokens(text)
    return EVENTS, [
        chunk(role="assistant"),
        *said,
        chunk("stop"),
        {"choices": [], "usage": {"prompt_tokens": 3}},
    ]


def refusal(texts: Sequence[str]) -> _Stream:
    return EVENTS, [*(chunk(refusal=text) for text in texts), chunk("stop")]


def reasoning(texts: Sequence[str]) -> _Stream:
    return EVENTS, [*(chunk(reasoning_content=text) for text in texts), chunk(content="so"), chunk("stop")]


def called(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    for at, text in enumerate(texts):
        function = {"arguments": text, **({"name": "send"} if at == 0 else {})}
        yield chunk(tool_calls=[{"index": 0, "id": "t", "type": "function", "function": function}])


def arguments(texts: Sequence[str]) -> _Stream:
    return EVENTS, [*called(['{"to": "', *texts, '"}']), chunk("tool_calls")]


def cut_arguments(texts: Sequence[str]) -> _Stream:
    return EVENTS, [*called(['{"to": "', *texts]), chunk("length")]


def name_of_call(texts: Sequence[str]) -> _Stream:
    named = [chunk(tool_calls=[{"index": 0, "function": {"name": text, "arguments": ""}}]) for text in texts]
    return EVENTS, [*named, chunk("tool_calls")]


def completion(texts: Sequence[str]) -> _Stream:
    said = [{"choices": [{"index": 0, "text": text, "logprobs": {"tokens": [text]}}]} for text in texts]
    return EVENTS, [*said, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}]


def second_choice(texts: Sequence[str]) -> _Stream:
    other = [{"choices": [{"index": 1, "delta": {"content": text}}]} for text in texts]
    return EVENTS, [
        chunk(content="x"),
        *other,
        chunk("stop"),
        {"choices": [{"index": 1, "finish_reason": "stop"}]},
    ]


def responses(texts: Sequence[str]) -> _Stream:
    deltas = [{"type": "response.output_text.delta", "delta": text} for text in texts]
    part = {"type": "output_text", "text": "".join(texts), "logprobs": [{"token": text} for text in texts]}
    whole = {"object": "response", "status": "completed", "output": [{"type": "message", "content": [part]}]}
    begun = {"type": "response.created", "response": {"object": "response", "output": []}}
    return EVENTS, [begun, *deltas, {"type": "response.completed", "response": whole}]


def parts_of_response(texts: Sequence[str]) -> _Stream:
    parts = [{"type": "output_text", "text": text} for text in texts]
    whole = {"object": "response", "status": "completed", "output": [{"type": "message", "content": parts}]}
    return EVENTS, [{"type": "response.completed", "response": whole}]


def anthropic(texts: Sequence[str]) -> _Stream:
    said = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in texts
    ]
    return EVENTS, [
        {"type": "message_start", "message": {"type": "message", "content": [], "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *said,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip


def anthropic_tool(texts: Sequence[str]) -> _Stream:
    given = [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": text},
        }
        for text in ('{"to":"', *texts, '"}')
    ]
    block = {"type": "tool_use", "name": "send", "input": {}}
    return EVENTS, [
        {"type": "message_start", "message": {"type": "message", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *given,
        {"type": "message_stop"},
    ]  # fmt: skip


def anthropic_blocks(texts: Sequence[str]) -> _Stream:
    said = [
        {"type": "content_block_delta", "index": at, "delta": {"type": "text_delta", "text": text}}
        for at, text in enumerate(texts)
    ]
    return EVENTS, [
        {"type": "message_start", "message": {"type": "message"}},
        *said,
        {"type": "message_stop"},
    ]


def ollama(texts: Sequence[str]) -> _Stream:
    said = [{"model": "m", "response": text, "done": False} for text in texts]
    context = list("".join(texts).encode())
    return LINES, [*said, {"model": "m", "response": "", "done": True, "context": context}]


def ollama_chat(texts: Sequence[str]) -> _Stream:
    said = [{"message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    return LINES, [*said, {"message": {"role": "assistant", "content": ""}, "done": True}]


def llama_cpp(texts: Sequence[str]) -> _Stream:
    said = [{"content": text, "stop": False, "tokens": list(text.encode())} for text in texts]
    told = [{"content": text, "probs": [{"tok_str": text}]} for text in texts]
    last = {
        "content": "",
        "stop": True,
        "prompt": "x " + "".join(texts),
        "tokens": list("".join(texts).encode()),
    }
    return EVENTS, [*said, {**last, "completion_probabilities": told}]


def hugging_face(texts: Sequence[str]) -> _Stream:
    said: list[dict[str, Any]] = [
        {"token": {"text": text, "id": 5, "special": False}, "generated_text": None} for text in texts
    ]
    details = {"finish_reason": "length", "prefill": [{"text": text} for text in texts]}
    said.append(
        {"token": {"text": "", "special": True}, "generated_text": "".join(texts), "details": details}
    )
    return EVENTS, said


def triton(texts: Sequence[str]) -> _Stream:
    return EVENTS, [{"model_name": "m", "text_output": text} for text in texts]


def gemini(texts: Sequence[str]) -> _Stream:
    said = [
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": text}]}, "logprobsResult": {"x": [text]}}
            ]
        }
        for text in texts
    ]
    return EVENTS, [*said, {"candidates": [{"finishReason": "STOP", "content": {"parts": []}}]}]


def gemini_list(texts: Sequence[str]) -> _Stream:
    return LIST, gemini(texts)[1]


def cohere(texts: Sequence[str]) -> _Stream:
    said = [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}
        for text in texts
    ]
    return EVENTS, [{"type": "message-start", "id": "c"}, *said, {"type": "message-end", "delta": {}}]


def sglang(texts: Sequence[str]) -> _Stream:
    grown = ["".join(texts[: at + 1]) for at in range(len(texts))]
    spelt = [[-0.5, 5, text] for text in texts]
    meta = {"output_token_logprobs": spelt, "prompt_tokens": 3}
    return EVENTS, [{"text": text, "meta_info": meta, "output_ids": list(text.encode())} for text in grown]


def unsaid_lines(texts: Sequence[str]) -> _Stream:
    return b"text/plain", ollama(texts)[1]


def unsaid_json(texts: Sequence[str]) -> _Stream:
    return b"application/json", ollama_chat(texts)[1]


def unsaid_events(texts: Sequence[str]) -> _Stream:
    return b"", chat(texts)[1]


DIALECTS: dict[str, Dialect] = {
    each.__name__: each
    for each in (
        chat, refusal, reasoning, arguments, cut_arguments, name_of_call, completion, second_choice, responses,
        parts_of_response, anthropic, anthropic_tool, anthropic_blocks, ollama, ollama_chat, llama_cpp, hugging_face,
        triton, gemini, gemini_list, cohere, sglang, unsaid_lines, unsaid_json, unsaid_events,
    )
}  # fmt: skip


def body_of(kind: bytes, documents: Sequence[Any], *, is_ascii: bool = False) -> bytes:
    """Return documents as events or lines."""
    written = [orjson.dumps(document) for document in documents]
    if is_ascii:  # as Python's own writer does, and more: signs as escapes
        written = [each.replace(b"@", b"\\u0040").replace(b"+", b"\\u002b") for each in written]
    if kind == LIST:
        return b"[" + b",\n".join(written) + b"]"
    if kind not in (EVENTS, b""):
        return b"\n".join(written) + b"\n"
    return b"".join(b"data: " + each + b"\n\n" for each in written) + b"data: [DONE]\n\n"
