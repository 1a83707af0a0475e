"""One JSON answer of a generating model → what it generated, whichever service's form it has.

=========== ==========================================================================================
OpenAI      chat (``choices[].message``), completions (``choices[].text``), responses (``output[]``)
Anthropic   messages: ``{"type": "message", "content": [{"type": "text"}, {"type": "tool_use"}]}``
Ollama      ``{"response", "done"}``, ``{"message", "done"}``
others      ``generated_text`` (Hugging Face), ``text_output`` (Triton), ``content`` with ``stop`` (llama.cpp)
=========== ==========================================================================================

A service that was never heard of speaks one of these, most often the first. What is irregular is left out, never an
error: an answer without a completion is still JSON.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import orjson

from proxy.compare.values import Choice, Completion, Json, ToolCall, Usage

__all__ = ["is_openai", "read_completion", "text_of"]

_SPENT: Final = (
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
)
"""How services call the tokens they read and wrote, inside ``usage``."""

_SPENT_OUTSIDE: Final = (
    ("prompt_eval_count", "eval_count"),  # Ollama
    ("tokens_evaluated", "tokens_predicted"),  # llama.cpp
)
"""The same without a ``usage`` around them."""


def read_completion(document: Json, *, is_streamed: bool = False) -> Completion | None:
    """Return what a generating model said, ``None`` when ``document`` is no such answer.

    Args:
        document: parsed JSON: an answer in one piece, or what the pieces of a stream add up to.
        is_streamed: it came in pieces.
    """
    if type(document) is list:
        return _read_generated_rows(document, is_streamed)
    if type(document) is not dict:
        return None
    for read in _READERS:
        choices = read(document)
        if choices is not None:
            return Completion(choices, _usage(document), is_streamed)
    return None


def is_openai(document: Json) -> bool:
    """Whether an answer that has a completion has it in one of OpenAI's forms."""
    return type(document) is dict and ("choices" in document or document.get("object") == "response")


def text_of(content: Json) -> str:
    """Return the text of a message's content: a text, or a list of parts some of which are text."""
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    return "".join(part["text"] for part in _objects(content) if type(part.get("text")) is str)


def _objects(values: Json) -> list[dict[str, Json]]:
    return [value for value in values if type(value) is dict] if type(values) is list else []


def _word(value: Json) -> str | None:
    return value if type(value) is str else None


def _read_chat(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read OpenAI's chat and completions; choices in the order of their numbers."""
    listed = document.get("choices")
    if type(listed) is not list or not (listed or "object" in document):
        return None
    choices = []
    for place, each in enumerate(listed):
        if type(each) is not dict:
            return None
        number = each.get("index")
        index = number if type(number) is int else place
        finish, message = _word(each.get("finish_reason")), each.get("message")
        if type(message) is dict:
            text, refusal = text_of(message.get("content")), _word(message.get("refusal"))
            choices.append(Choice(index, text, finish, refusal, _called(message)))
        elif type(each.get("text")) is str:
            choices.append(Choice(index, each["text"], finish, None, ()))
        else:
            return None
    return tuple(sorted(choices, key=lambda choice: choice.index))


def _called(message: dict[str, Json]) -> tuple[ToolCall, ...]:
    """Return the calls of a message, the one of the older ``function_call`` included."""
    functions = [call.get("function") for call in _objects(message.get("tool_calls"))]
    functions.append(message.get("function_call"))
    return tuple(_call(each.get("name"), each.get("arguments")) for each in functions if type(each) is dict)


def _call(name: Json, arguments: Json) -> ToolCall:
    """Return a call whose arguments are parsed where they are JSON in a text."""
    if type(arguments) is str:
        with suppress(ValueError):
            arguments = orjson.loads(arguments)
    return ToolCall(name if type(name) is str else "", arguments)


def _read_responses(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read OpenAI's responses: items of output, of which messages hold text and refusals."""
    output = document.get("output")
    if document.get("object") != "response" or type(output) is not list:
        return None
    items = _objects(output)
    parts = [
        part for item in items for part in _objects(item.get("content")) if item.get("type") == "message"
    ]
    refusals = [part["refusal"] for part in parts if type(part.get("refusal")) is str]
    calls = [item for item in items if item.get("type") == "function_call"]
    incomplete = document.get("incomplete_details")
    reason = _word(incomplete.get("reason")) if type(incomplete) is dict else None
    choice = Choice(
        0,
        text_of(parts),
        reason or _word(document.get("status")),
        "".join(refusals) if refusals else None,
        tuple(_call(item.get("name"), item.get("arguments")) for item in calls),
    )
    return (choice,)


def _read_messages(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read Anthropic's messages."""
    if document.get("type") != "message" or type(document.get("content")) is not list:
        return None
    blocks = _objects(document["content"])
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    finish = _word(document.get("stop_reason"))
    return (
        Choice(
            0,
            text_of([block for block in blocks if block.get("type") == "text"]),
            finish,
            None,
            tuple(_call(block.get("name"), block.get("input")) for block in calls),
        ),
    )


def _read_ollama(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    if type(document.get("done")) is not bool:
        return None
    finish, message = _word(document.get("done_reason")), document.get("message")
    if type(document.get("response")) is str:
        return (Choice(0, document["response"], finish, None, ()),)
    if type(message) is dict:
        return (Choice(0, text_of(message.get("content")), finish, None, _called(message)),)
    return None


def _read_generated(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read the forms that are a text and little more."""
    details = document.get("details")
    if type(document.get("generated_text")) is str:
        finish = _word(details.get("finish_reason")) if type(details) is dict else None
        return (Choice(0, document["generated_text"], finish, None, ()),)
    if type(document.get("text_output")) is str:
        return (Choice(0, document["text_output"], None, None, ()),)
    if type(document.get("content")) is str and type(document.get("stop")) is bool:
        return (Choice(0, document["content"], _word(document.get("stop_type")), None, ()),)
    return None


def _read_generated_rows(rows: list[Json], is_streamed: bool) -> Completion | None:
    """Read a list of generated texts, one for each text that was sent (Hugging Face's pipelines)."""
    if not rows or any(type(row) is not dict or type(row.get("generated_text")) is not str for row in rows):
        return None
    choices = (Choice(index, row["generated_text"], None, None, ()) for index, row in enumerate(rows))
    return Completion(tuple(choices), None, is_streamed)


_READERS: Final[tuple[Callable[[dict[str, Json]], tuple[Choice, ...] | None], ...]] = (
    _read_chat,
    _read_responses,
    _read_messages,
    _read_ollama,
    _read_generated,
)


def _usage(document: dict[str, Json]) -> Usage | None:
    usage = document.get("usage")
    if type(usage) is dict:
        return _spent(usage, _SPENT)
    details = document.get("details")
    if type(details) is dict and (written := _count(details.get("generated_tokens"))) is not None:
        return Usage(None, written)  # Hugging Face's text-generation-inference
    return _spent(document, _SPENT_OUTSIDE)


def _spent(counts: dict[str, Json], names: Iterable[tuple[str, str]]) -> Usage | None:
    for read, written in names:
        if read in counts or written in counts:
            return Usage(_count(counts.get(read)), _count(counts.get(written)))
    return None


def _count(value: Json) -> int | None:
    return value if type(value) is int and value >= 0 else None
