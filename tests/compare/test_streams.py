"""The pieces of a stream add up to the service's answer in one piece, or the reason says why not."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.completions import read_completion
from proxy.compare.events import Piece, read_events, read_lines
from proxy.compare.streams import DONE, Assembled, assemble, assemble_body
from proxy.compare.values import Choice, Completion, ToolCall, Undecodable, Usage


def pieces(*documents: Any) -> list[Piece]:
    """Return documents (or bytes as they are) as pieces that end at 1, 2, 3, …"""
    said = (each if isinstance(each, bytes) else orjson.dumps(each) for each in documents)
    return [Piece(data, number) for number, data in enumerate(said, 1)]


def delta(finish: str | None = None, index: int = 0, **message: Any) -> dict[str, Any]:
    """Return a piece of a chat."""
    choice = {"index": index, "delta": message, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def text(said: str, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """Return a piece of a completion."""
    return {"object": "text_completion", "choices": [{"index": index, "text": said, "finish_reason": finish}]}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    """Return a piece of a call of a tool."""
    return {"index": index, "function": {"arguments": arguments, **more}}


USAGE = {"prompt_tokens": 5, "completion_tokens": 2}

WHOLE: dict[str, tuple[list[Piece], list[Choice], Usage | None, list[int]]] = {
    "chat": (
        pieces(
            delta(role="assistant", content=""),
            delta(content="Hel"),
            delta(content="lo"),
            delta("stop"),
            DONE,
        ),
        [Choice(0, "Hello", "stop", None, ())],
        None,
        [2, 3],
    ),
    "chat, usage behind the choices": (
        pieces(delta(content="a"), delta("length"), {"choices": [], "usage": USAGE}, DONE),
        [Choice(0, "a", "length", None, ())],
        Usage(5, 2),
        [1],
    ),
    "chat, without [DONE]": (
        pieces(delta(content="a"), delta("stop")),
        [Choice(0, "a", "stop", None, ())],
        None,
        [1],
    ),
    "chat, without a reason": (pieces(delta(content="a"), DONE), [Choice(0, "a", None, None, ())], None, [1]),
    "chat, behind [DONE] nothing counts": (
        pieces(delta(content="a"), DONE, delta(content="b"), b"{"),
        [Choice(0, "a", None, None, ())],
        None,
        [1],
    ),
    "chat, choices by turns": (
        pieces(delta(content="b", index=1), delta(content="a"), delta("stop", 1), delta("stop")),
        [Choice(0, "a", "stop", None, ()), Choice(1, "b", "stop", None, ())],
        None,
        [1, 2],
    ),
    "chat, two calls, their arguments by turns": (
        pieces(
            delta(content=None, tool_calls=[{**call(0, "", name="f"), "id": "1", "type": "function"}]),
            delta(tool_calls=[call(0, '{"a"')]),
            delta(tool_calls=[{**call(1, "", name="g"), "id": "2", "type": "function"}, call(0, ": 1")]),
            delta(tool_calls=[call(1, "[]"), call(0, "}")]),
            delta("tool_calls"),
            DONE,
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", {"a": 1}), ToolCall("g", [])))],
        None,
        [1, 2, 3, 4],
    ),
    "chat, calls that all have the number 0": (
        pieces(
            delta(tool_calls=[{**call(0, '{"a"', name="f"), "id": "1"}]),
            delta(tool_calls=[call(0, ": 1}")]),
            delta(tool_calls=[{**call(0, "[]", name="f"), "id": "2"}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", {"a": 1}), ToolCall("f", [])))],
        None,
        [1, 2, 3],
    ),
    "chat, calls without a number": (
        pieces(
            delta(tool_calls=[{"id": "1", "function": {"name": "f", "arguments": '{"a"'}}]),
            delta(tool_calls=[{"function": {"arguments": ": 1}"}}]),
            delta(tool_calls=[{"id": "2", "function": {"name": "g", "arguments": "[]"}}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", {"a": 1}), ToolCall("g", [])))],
        None,
        [1, 2, 3],
    ),
    "chat, calls without number or id": (
        pieces(
            delta(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "f"}}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", {}), ToolCall("f", {})))],
        None,
        [1],
    ),
    "chat, arguments under a number of their own": (
        pieces(
            delta(tool_calls=[{**call(0, "", name="f"), "id": "1"}]),
            delta(tool_calls=[call(1, "[1")]),
            delta(tool_calls=[call(2, "]")]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", [1]),))],
        None,
        [1, 2, 3],
    ),
    "chat, the name with every piece": (
        pieces(
            delta(tool_calls=[{**call(0, "[", name="f"), "id": "1"}]),
            delta(tool_calls=[{**call(0, "]", name="f"), "id": "1"}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", []),))],
        None,
        [1, 2],
    ),
    "chat, an id with every piece": (
        pieces(
            delta(tool_calls=[{**call(0, "[", name="f"), "id": "1"}]),
            delta(tool_calls=[{**call(0, "]"), "id": "2"}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("f", []),))],
        None,
        [1, 2],
    ),
    "chat, arguments that are no text": (
        pieces(delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}]), DONE),
        [Choice(0, "", None, None, (ToolCall("f", {"a": 1}),))],
        None,
        [1],
    ),
    "chat, a tool without a schema": (
        pieces(
            delta(
                tool_calls=[{"index": 0, "id": "1", "type": "custom", "custom": {"name": "sh", "input": ""}}]
            ),
            delta(tool_calls=[{"index": 0, "custom": {"input": "ls"}}]),
            delta("tool_calls"),
        ),
        [Choice(0, "", "tool_calls", None, (ToolCall("sh", "ls"),))],
        None,
        [1, 2],
    ),
    "chat, sound": (
        pieces(
            delta(role="assistant", audio={"id": "a", "transcript": "Hel"}),
            delta(audio={"transcript": "lo"}),
            delta(audio={"data": "AAAA"}),
            delta("stop"),
        ),
        [Choice(0, "Hello", "stop", None, ())],
        None,
        [1, 2],
    ),
    "chat, an empty reason is none": (
        pieces(delta("", content="a"), delta("stop")),
        [Choice(0, "a", "stop", None, ())],
        None,
        [1],
    ),
    "chat, the older function_call": (
        pieces(
            delta(function_call={"name": "f", "arguments": "{"}),
            delta(function_call={"arguments": "}"}),
            DONE,
        ),
        [Choice(0, "", None, None, (ToolCall("f", {}),))],
        None,
        [1, 2],
    ),
    "chat, a refusal": (
        pieces(delta(refusal="I "), delta(refusal="cannot"), delta("stop")),
        [Choice(0, "", "stop", "I cannot", ())],
        None,
        [1, 2],
    ),
    "chat, thoughts are no text": (
        pieces(delta(reasoning_content="Hm"), delta(content="a"), delta("stop")),
        [Choice(0, "a", "stop", None, ())],
        None,
        [1, 2],
    ),
    "chat, Azure's first piece": (
        pieces(
            {"id": "", "object": "", "choices": [], "prompt_filter_results": []},
            delta(content="a"),
            delta("stop"),
        ),
        [Choice(0, "a", "stop", None, ())],
        None,
        [2],
    ),
    "completions": (
        pieces(text("Hel"), text("lo"), text("", "length"), DONE),
        [Choice(0, "Hello", "length", None, ())],
        None,
        [1, 2],
    ),
    "responses": (
        pieces(
            {
                "type": "response.created",
                "response": {"object": "response", "status": "in_progress", "output": []},
            },
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": "lo"},
            {
                "type": "response.completed",
                "response": {
                    "object": "response",
                    "status": "completed",
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
                    "usage": {"input_tokens": 1, "output_tokens": 2},
                },
            },
        ),
        [Choice(0, "Hello", "completed", None, ())],
        Usage(1, 2),
        [2, 3],
    ),
    "responses, the text only in pieces": (
        pieces(
            {"type": "response.output_text.delta", "delta": "Hello"},
            {"type": "response.completed", "response": {"status": "completed"}},
        ),
        [Choice(0, "Hello", "completed", None, ())],
        None,
        [1],
    ),
    "responses, items only in pieces": (
        pieces(
            {"type": "response.created", "response": {"object": "response", "output": []}},
            {
                "type": "response.output_item.done",
                "output_index": 1,
                "item": {"type": "function_call", "name": "f", "arguments": "[1]"},
            },
            {"type": "response.output_text.delta", "delta": "Hello"},
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            },
            {"type": "response.completed", "response": {"status": "completed", "output": []}},
        ),
        [Choice(0, "Hello", "completed", None, (ToolCall("f", [1]),))],
        None,
        [3],
    ),
    "Anthropic, a block that begins with something": (
        pieces(
            {"type": "ping"},
            {"type": "message_start", "message": {"type": "message", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "server_tool_use"}},
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": "{}"},
            },
            {"type": "content_block_start", "index": 2, "content_block": {"type": "thinking"}},
            {
                "type": "content_block_delta",
                "index": 2,
                "delta": {"type": "signature_delta", "signature": "x"},
            },
            {"type": "message_stop"},
        ),
        [Choice(0, "Hello", None, None, ())],
        None,
        [4, 6],
    ),
    "Cohere, of old": (
        pieces(
            {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
            {"is_finished": False, "event_type": "text-generation", "text": "Hel"},
            {"is_finished": False, "event_type": "text-generation", "text": "lo"},
            {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": {}},
        ),
        [Choice(0, "Hello", "COMPLETE", None, ())],
        None,
        [2, 3],
    ),
    "Anthropic": (
        pieces(
            {
                "type": "message_start",
                "message": {
                    "type": "message",
                    "role": "assistant",
                    "content": [],
                    "usage": {"input_tokens": 3, "output_tokens": 1},
                },
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "name": "f", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'},
            },
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ),
        [Choice(0, "Hello", "tool_use", None, (ToolCall("f", {"a": 1}),))],
        Usage(3, 7),
        [4, 5, 7],
    ),
    "Ollama, generate": (
        pieces(
            {"response": "Hel", "done": False},
            {"response": "lo", "done": False},
            {"response": "", "done": True, "done_reason": "stop", "eval_count": 2},
        ),
        [Choice(0, "Hello", "stop", None, ())],
        Usage(None, 2),
        [1, 2],
    ),
    "Ollama, chat": (
        pieces(
            {"message": {"role": "assistant", "content": "Hel"}, "done": False},
            {
                "message": {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
                },
                "done": False,
            },
            {"message": {"role": "assistant", "content": "lo"}, "done": True, "done_reason": "stop"},
        ),
        [Choice(0, "Hello", "stop", None, (ToolCall("f", {}),))],
        None,
        [1, 2, 3],
    ),
    "Hugging Face": (
        pieces(
            {"index": 1, "token": {"text": "Hel", "special": False}, "generated_text": None},
            {"index": 2, "token": {"text": "lo", "special": False}, "generated_text": None},
            {
                "index": 3,
                "token": {"text": "</s>", "special": True},
                "generated_text": "Hello",
                "details": {"finish_reason": "eos_token", "generated_tokens": 3},
            },
        ),
        [Choice(0, "Hello", "eos_token", None, ())],
        Usage(None, 3),
        [1, 2],
    ),
    "llama.cpp": (
        pieces({"content": "Hel", "stop": False}, {"content": "lo", "stop": True, "stop_type": "limit"}),
        [Choice(0, "Hello", "limit", None, ())],
        None,
        [1, 2],
    ),
    "Triton, which has no end": (
        pieces({"model_name": "m", "text_output": "Hel"}, {"model_name": "m", "text_output": "lo"}),
        [Choice(0, "Hello", None, None, ())],
        None,
        [1, 2],
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_streams(name: str) -> None:
    """What was said, what it took, and which pieces had a part of it."""
    given_pieces, choices, usage, ends = WHOLE[name]
    found = assemble(given_pieces)
    assert isinstance(found, Assembled)
    assert read_completion(found.document, is_streamed=True) == Completion(tuple(choices), usage, True)
    assert found.ends == ends


def test_the_document_is_the_answer_in_one_piece() -> None:
    """Pointers that name a place in an answer name it in a stream too."""
    found = assemble(
        pieces(delta(role="assistant", content="a"), delta("stop"), {"choices": [], "usage": USAGE})
    )
    assert isinstance(found, Assembled)
    assert found.document == {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }  # fmt: skip


BROKEN: dict[str, tuple[list[Piece], str | None]] = {
    "cut before its end": (pieces(delta(content="a")), "cut"),
    "one of two choices is cut": (
        pieces(delta(content="a"), delta(content="b", index=1), delta("stop")),
        "cut",
    ),
    "Ollama, cut": (pieces({"response": "a", "done": False}), "cut"),
    "Anthropic, cut": (pieces({"type": "message_start", "message": {}}), "cut"),
    "responses, cut": (pieces({"type": "response.output_text.delta", "delta": "a"}), "cut"),
    "an error in the middle": (
        pieces(delta(content="a"), {"error": {"message": "overloaded"}}, DONE),
        "stream_error",
    ),
    "an error first": (pieces({"error": {"message": "overloaded", "code": 503}}), None),
    "an error that is no member": (
        pieces(delta(content="a"), {"object": "error", "message": "overloaded", "code": 500}, DONE),
        "stream_error",
    ),
    "Anthropic, an error first": (
        pieces({"type": "error", "error": {"type": "overloaded_error"}, "request_id": "r"}),
        "stream_error",
    ),
    "Anthropic, an error": (
        pieces({"type": "message_start", "message": {}}, {"type": "error"}),
        "stream_error",
    ),
    "responses, an error": (
        pieces({"type": "response.created", "response": {}}, {"type": "error"}),
        "stream_error",
    ),
    "Ollama, an error": (
        pieces({"response": "a", "done": False}, {"error": "out of memory"}),
        "stream_error",
    ),
    "a piece that is no JSON": (pieces(delta(content="a"), b"{", DONE), "invalid_json"),
    "rows": (pieces({"label": 1}, {"label": 2}), None),
    "rows that have an error": (pieces({"y": 1, "error": 0.5}), None),
    "numbers": (pieces(1, 2), None),
    "no JSON at all": (pieces(b"hello"), None),
    "nothing": ([], None),
    "nothing but [DONE]": (pieces(DONE), None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_stream(name: str) -> None:
    """A reason where a client would have seen one; nothing where no model generates."""
    given_pieces, reason = BROKEN[name]
    if name == "an error first":
        reason = "stream_error"
    assert assemble(given_pieces) == (None if reason is None else Undecodable(reason))


def test_part_of_a_stream() -> None:
    """Who only wants what there is gets it: up to the end, what cannot be read, or an error."""
    for end in ([], pieces(b"{"), pieces({"error": "x"})):
        found = assemble([*pieces(delta(content="a")), *end], is_partial=True)
        assert isinstance(found, Assembled)
        assert found.ends == [1]


def test_a_body_is_remembered_and_says_the_same() -> None:
    """Asked again, in part or whole, a body gives what its pieces give; so does one too long to remember."""
    for padding in (0, 300_000):
        body = b"data: " + orjson.dumps(delta(content="a" + "x" * padding)) + b"\n\n"
        whole = body + b"data: [DONE]\n\n"
        for given_body, is_partial in (
            (body, False),
            (body, True),
            (whole, False),
            (whole, True),
            (body, False),
        ):
            expected = assemble(read_events(given_body), is_partial=is_partial)
            assert assemble_body(given_body, read_events, is_partial=is_partial) == expected
    assert assemble_body(b"1\n", read_lines) is None


def test_bytes_that_are_no_text_are_replaced() -> None:
    """As an event stream is read (WHATWG HTML, section 9.2.6): decoding never fails."""
    found = assemble(pieces(orjson.dumps(delta("stop", content="a?")).replace(b"?", b"\xff")))
    assert isinstance(found, Assembled)
    assert found.document["choices"][0]["message"]["content"] == "a\ufffd"


words = st.text(max_size=6)


@given(st.lists(st.tuples(st.integers(0, 2), words), max_size=8))
def test_texts_are_joined_by_choice(said: list[tuple[int, str]]) -> None:
    """However pieces of several choices are mixed, each choice gets its own in their order."""
    found = assemble(
        pieces({"choices": []}, *(delta(content=word, index=index) for index, word in said), DONE)
    )
    assert isinstance(found, Assembled)
    completion = read_completion(found.document)
    assert completion is not None
    assert {c.index: c.text for c in completion.choices} == {
        index: "".join(word for at, word in said if at == index) for index, _ in said
    }


KEYS: tuple[str, ...] = (
    *("choices", "delta", "message", "content", "text", "index"),
    *("finish_reason", "tool_calls", "function", "name", "arguments", "function_call"),
    *("type", "response", "output", "error", "done", "stop"),
    *("token", "generated_text", "text_output", "usage", "content_block", "id"),
    *("object"),
)
WORDS = [
    "",
    "a",
    "response.completed",
    "response.output_text.delta",
    "message_start",
    "content_block_delta",
    "tool_use",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
BEGINNINGS: list[Any] = [
    {"choices": []},
    {"type": "response.x"},
    {"type": "message_start"},
    {"done": False, "response": ""},
    {"token": {"text": "a"}},
    {"text_output": ""},
    {"done": False, "message": {"content": ""}},
]


@given(st.sampled_from(BEGINNINGS), st.lists(values, max_size=6), st.booleans())
def test_any_pieces_are_an_answer_or_a_reason(first: Any, following: Iterable[Any], is_partial: bool) -> None:
    """Whatever JSON follows: no exception, and what comes out can be read and written."""
    found = assemble(pieces(first, *following), is_partial=is_partial)
    if isinstance(found, Assembled):
        read_completion(found.document)
        orjson.dumps(found.document)
