"""One JSON answer of a generating model → what it generated, whichever service's form it has.

=========== ==========================================================================================
OpenAI      chat (``choices[].message``), completions (``choices[].text``), responses (``output[]``)
Anthropic   messages: ``{"type": "message", "content": [{"type": "text"}, {"type": "tool_use"}]}``
Gemini      ``{"candidates": [{"content": {"parts": [{"text"}, {"functionCall"}]}, "finishReason"}]}``
Cohere      ``{"message": {"content": [{"text"}], "tool_calls"}, "finish_reason"}``
Bedrock     converse: ``{"output": {"message": {"content": [{"text"}, {"toolUse"}]}}, "stopReason"}``
Ollama      ``{"response", "done"}``, ``{"message", "done"}``
others      a text under one of the names in `_TEXT_NAMES`, or a list of such, one for each text that was sent
=========== ==========================================================================================

A service that was never heard of speaks one of these, most often the first. What is irregular is left out, never an
error: an answer without a completion is still JSON.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import orjson

from proxy.compare.values import Choice, Completion, Json, ToolCall, Usage

__all__ = ["COMPLETION_SIGNS", "is_openai", "read_completion", "text_of"]

_SPENT: Final = (
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
    ("inputTokens", "outputTokens"),  # Bedrock
    ("promptTokenCount", "candidatesTokenCount"),  # Gemini
)
"""How services call the tokens they read and wrote, inside ``usage`` or what they call it."""

_USAGES: Final = (
    ("usage", "tokens"),  # Cohere
    ("usage",),
    ("usageMetadata",),  # Gemini
    ("meta_info",),  # SGLang
)

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
        rows = _read_rows(document)
        return None if rows is None else Completion(rows, None, is_streamed)
    if type(document) is not dict:
        return None
    if is_streamed and (text := _streamed_output(document)) is not None:
        return Completion((Choice(0, text, None, None, ()),), None, True)
    if document.keys().isdisjoint(COMPLETION_SIGNS):
        return None
    for read in _READERS:
        choices = read(document)
        if choices is not None:
            return Completion(choices, _usage(document), is_streamed)
    return None


def _streamed_output(document: dict[str, Json]) -> str | None:
    """Return the one text of an answer of the Open Inference Protocol; in one piece it may as well be a label."""
    outputs = document.get("outputs")
    if type(outputs) is not list or len(outputs) != 1 or _at(outputs[0], "datatype") != "BYTES":
        return None
    data = outputs[0].get("data")
    return data[0] if type(data) is list and len(data) == 1 and type(data[0]) is str else None


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
    """Return a text; ``None`` for an empty one as well, which some servers write for null."""
    return value if type(value) is str and value else None


def _at(document: Json, *place: str) -> Json:
    for key in place:
        document = document.get(key) if type(document) is dict else None
    return document


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
            text = text_of(message.get("content")) or text_of(_at(message, "audio", "transcript"))
            choices.append(Choice(index, text, finish, _word(message.get("refusal")), _called(message)))
        elif type(each.get("text")) is str:
            choices.append(Choice(index, each["text"], finish, None, ()))
        else:
            return None
    return tuple(sorted(choices, key=lambda choice: choice.index))


def _called(message: dict[str, Json]) -> tuple[ToolCall, ...]:
    """Return the calls of a message, the one of the older ``function_call`` included."""
    functions = [call.get("function") or call.get("custom") for call in _objects(message.get("tool_calls"))]
    functions.append(message.get("function_call"))
    return tuple(
        _call(each.get("name"), each["input"] if "input" in each else each.get("arguments"))
        for each in functions
        if type(each) is dict
    )


def _call(name: Json, arguments: Json) -> ToolCall:
    """Return a call whose arguments are parsed where they are JSON in a text; none are an object of nothing."""
    if type(arguments) is str and arguments.strip():
        with suppress(ValueError):
            arguments = orjson.loads(arguments)
    elif type(arguments) is str or arguments is None:
        arguments = {}
    return ToolCall(name if type(name) is str else "", arguments)


_RESPONSE_CALLS: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
}
"""Items by which OpenAI's responses ask the client to do something, and where they say what."""


def _read_responses(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read OpenAI's responses: items of output, of which messages hold text and refusals."""
    output = document.get("output")
    if document.get("object") != "response" or type(output) is not list:
        return None
    items = _objects(output)
    parts = [
        part for item in items for part in _objects(item.get("content")) if item.get("type") == "message"
    ]
    refusals = [part["refusal"] for part in parts if _word(part.get("refusal"))]
    calls = [
        _call(item.get("name") or kind, item.get(_RESPONSE_CALLS[kind]))
        for item in items
        if type(kind := item.get("type")) is str and kind in _RESPONSE_CALLS
    ]
    incomplete = document.get("incomplete_details")
    reason = _word(incomplete.get("reason")) if type(incomplete) is dict else None
    choice = Choice(
        0,
        text_of(parts),
        reason or _word(document.get("status")),
        "".join(refusals) if refusals else None,
        tuple(calls),
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


def _read_candidates(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read Gemini's candidates; a prompt that it does not answer has none."""
    blocked = _word(_at(document, "promptFeedback", "blockReason"))
    listed = document.get("candidates")
    if blocked is not None and not listed:
        return (Choice(0, "", None, blocked, ()),)
    candidates = _objects(listed)
    if type(listed) is not list or not candidates or len(candidates) != len(listed):
        return None
    if any(type(each.get("content")) is not dict and "finishReason" not in each for each in candidates):
        return None
    choices = []
    for place, each in enumerate(candidates):
        number = each.get("index")
        parts = _objects(_at(each, "content", "parts"))
        calls = [part["functionCall"] for part in parts if type(part.get("functionCall")) is dict]
        choices.append(
            Choice(
                number if type(number) is int else place,
                text_of([part for part in parts if part.get("thought") is not True]),
                _word(each.get("finishReason")),
                None,
                tuple(_call(call.get("name"), call.get("args")) for call in calls),
            )
        )
    return tuple(sorted(choices, key=lambda choice: choice.index))


def _read_cohere(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    message = document.get("message")
    if type(message) is not dict or "finish_reason" not in document or not message.keys() & _COHERE:
        return None
    finish = _word(document["finish_reason"])
    return (Choice(0, text_of(message.get("content")), finish, None, _called(message)),)


_COHERE: Final = frozenset({"content", "tool_calls"})


def _read_converse(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read Bedrock's converse."""
    blocks = _at(document, "output", "message", "content")
    if type(blocks) is not list:
        return None
    calls = [block["toolUse"] for block in _objects(blocks) if type(block.get("toolUse")) is dict]
    finish = _word(document.get("stopReason"))
    called = tuple(_call(call.get("name"), call.get("input")) for call in calls)
    return (Choice(0, text_of(blocks), finish, None, called),)


def _read_ollama(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    if type(document.get("done")) is not bool:
        return None
    finish, message = _word(document.get("done_reason")), document.get("message")
    if type(document.get("response")) is str:
        return (Choice(0, document["response"], finish, None, ()),)
    if type(message) is dict:
        return (Choice(0, text_of(message.get("content")), finish, None, _called(message)),)
    return None


_TEXT_NAMES: Final = (
    "generated_text",  # Hugging Face
    "text_output",  # Triton
    "summary_text",
    "translation_text",
    "outputText",  # Amazon's Titan
)
"""What a text is called by services whose answer is a text and little more."""

_ALONE: Final = ("answer", "completion", "content", "generation", "output", "output_text", "response", "text")
"""The same of names that mean other things too: they count where nothing stands beside them that is not about them."""

_BESIDE: Final = frozenset(
    {
        *("chunks", "segments", "words", "language", "duration", "task"),  # speech
        *("meta_info", "output_ids"),  # SGLang
        *("generation_id", "response_id", "chat_history", "meta", "citations"),  # Cohere, of old
        *("stop_reason", "finish_reason", "is_finished", "event_type", "response", "type", "model"),
        *("prompt_token_count", "generation_token_count", "usage", "id", "request_id"),
    }
)


def _read_text(document: dict[str, Json]) -> tuple[Choice, ...] | None:
    """Read the forms that are a text, or one for each that was sent, and little more."""
    for name in _TEXT_NAMES:
        if name in document:
            return _choices(document[name], _finish(document))
    if type(document.get("content")) is str and type(document.get("stop")) is bool:
        return _choices(document["content"], _word(document.get("stop_type")))  # llama.cpp
    for name in _ALONE:
        if name in document and document.keys() <= _BESIDE | {name}:
            return _choices(document[name], _finish(document))
    results = document.get("results")
    if type(results) is list and results and all("outputText" in row for row in _objects(results)):
        return _read_rows(results)  # Amazon's Titan
    return None


def _finish(document: dict[str, Json]) -> str | None:
    found = (
        document.get("finish_reason"),
        document.get("stop_reason"),
        document.get("completionReason"),
        _at(document, "details", "finish_reason"),  # text-generation-inference
        _at(document, "meta_info", "finish_reason", "type"),  # SGLang
    )
    return next((word for word in map(_word, found) if word is not None), None)


def _choices(said: Json, finish: str | None) -> tuple[Choice, ...] | None:
    """Read a text, several, or the messages of a conversation, whose last one was generated."""
    if type(said) is str:
        return (Choice(0, said, finish, None, ()),)
    if type(said) is dict and "role" in said:
        said = [said]  # SageMaker JumpStart
    if type(said) is not list or not said:
        return None
    if all(type(text) is str for text in said):
        return tuple(Choice(at, text, finish, None, ()) for at, text in enumerate(said))
    last = said[-1]
    if all(type(each) is dict and "role" in each for each in said):
        return (Choice(0, text_of(last.get("content")), finish, None, _called(last)),)
    return None


def _read_rows(rows: list[Json]) -> tuple[Choice, ...] | None:
    """Read a list of generated texts, one for each text that was sent (Hugging Face's pipelines, SGLang, llama.cpp)."""
    choices: list[Choice] = []
    for row in rows:
        row = row[0] if type(row) is list and len(row) == 1 else row
        found = _read_text(row) if type(row) is dict else None
        if found is None or len(found) != 1:
            return None
        choices.append(found[0]._replace(index=len(choices)))
    return tuple(choices) or None


_READERS: Final[tuple[Callable[[dict[str, Json]], tuple[Choice, ...] | None], ...]] = (
    _read_chat,
    _read_responses,
    _read_messages,
    _read_candidates,
    _read_cohere,
    _read_converse,
    _read_ollama,
    _read_text,
)


COMPLETION_SIGNS: Final = frozenset(
    {
        *("candidates", "choices", "content", "done", "message", "output", "promptFeedback", "results"),
        *_TEXT_NAMES,
        *_ALONE,
    }
)
"""Members without any of which no reader finds anything: most documents have none."""


def _usage(document: dict[str, Json]) -> Usage | None:
    for place in _USAGES:
        usage = _at(document, *place)
        if type(usage) is dict and (spent := _spent(usage, _SPENT)) is not None:
            return spent
    written = _count(_at(document, "details", "generated_tokens"))
    if written is not None:
        return Usage(None, written)  # Hugging Face's text-generation-inference
    return _spent(document, _SPENT_OUTSIDE)


def _spent(counts: dict[str, Json], names: Iterable[tuple[str, str]]) -> Usage | None:
    for read, written in names:
        if read in counts or written in counts:
            return Usage(_count(counts.get(read)), _count(counts.get(written)))
    return None


def _count(value: Json) -> int | None:
    return value if type(value) is int and value >= 0 else None
