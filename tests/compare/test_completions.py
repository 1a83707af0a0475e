"""Answers of generating models in one piece: the same completion, whichever service's form it has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.completions import is_openai, read_completion, text_of
from proxy.compare.values import Choice, Completion, ToolCall, Usage

HELLO = Choice(0, "Hello.", "stop", None, ())
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def _chat(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": list(choices), **more}


def _message(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": "stop"}


ANSWERS: dict[str, tuple[Any, Completion | None]] = {
    "chat": (_chat(_message("Hello."), usage=USAGE), Completion((HELLO,), Usage(9, 3), False)),
    "chat, content in parts": (
        _chat(
            _message(
                [{"type": "text", "text": "Hel"}, {"type": "image_url"}, {"type": "text", "text": "lo."}]
            )
        ),
        Completion((HELLO,), None, False),
    ),
    "chat, a refusal": (
        _chat(_message(None, refusal="I cannot.")),
        Completion((Choice(0, "", "stop", "I cannot.", ()),), None, False),
    ),
    "chat, calls of tools": (
        _chat(
            _message(
                None,
                tool_calls=[
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, 2]}'}},
                    {"id": "2", "type": "function", "function": {"name": "g", "arguments": '{"a": '}},
                ],
            )
        ),
        Completion(
            (Choice(0, "", "stop", None, (ToolCall("f", {"a": [1, 2]}), ToolCall("g", '{"a": '))),),
            None,
            False,
        ),
    ),
    "chat, the older function_call": (
        _chat(_message(None, function_call={"name": "f", "arguments": "{}"})),
        Completion((Choice(0, "", "stop", None, (ToolCall("f", {}),)),), None, False),
    ),
    "chat, two choices out of order": (
        _chat({**_message("b"), "index": 1}, {**_message("a"), "index": 0}),
        Completion((Choice(0, "a", "stop", None, ()), Choice(1, "b", "stop", None, ())), None, False),
    ),
    "chat, no choices": (_chat(), Completion((), None, False)),
    "completions": (
        {"object": "text_completion", "choices": [{"index": 0, "text": "Hello.", "finish_reason": "stop"}]},
        Completion((HELLO,), None, False),
    ),
    "completions, bare": (
        {"choices": [{"text": "x"}]},
        Completion((Choice(0, "x", None, None, ()),), None, False),
    ),
    "responses": (
        {
            "object": "response",
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": []},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "Hel"},
                        {"type": "output_text", "text": "lo."},
                    ],
                },
                {"type": "function_call", "name": "f", "arguments": "[1]", "call_id": "c"},
            ],
            "usage": {"input_tokens": 5, "output_tokens": 2},
        },
        Completion((Choice(0, "Hello.", "completed", None, (ToolCall("f", [1]),)),), Usage(5, 2), False),
    ),
    "responses, refused and cut off": (
        {
            "object": "response",
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}],
        },
        Completion((Choice(0, "", "max_output_tokens", "No.", ()),), None, False),
    ),
    "Anthropic": (
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Hello."},
                {"type": "tool_use", "name": "f", "input": {"a": 1}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 4, "output_tokens": 6},
        },
        Completion((Choice(0, "Hello.", "tool_use", None, (ToolCall("f", {"a": 1}),)),), Usage(4, 6), False),
    ),
    "Ollama, generate": (
        {
            "model": "m",
            "response": "Hello.",
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 2,
            "eval_count": 3,
        },
        Completion((HELLO,), Usage(2, 3), False),
    ),
    "Ollama, chat": (
        {
            "message": {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            "done": True,
        },
        Completion((Choice(0, "", None, None, (ToolCall("f", {"a": 1}),)),), None, False),
    ),
    "Hugging Face, text-generation-inference": (
        {"generated_text": "Hello.", "details": {"finish_reason": "stop", "generated_tokens": 3}},
        Completion((HELLO,), Usage(None, 3), False),
    ),
    "Hugging Face, a pipeline of two texts": (
        [{"generated_text": "a"}, {"generated_text": "b"}],
        Completion((Choice(0, "a", None, None, ()), Choice(1, "b", None, None, ())), None, False),
    ),
    "llama.cpp": (
        {
            "content": "Hello.",
            "stop": True,
            "stop_type": "stop",
            "tokens_evaluated": 1,
            "tokens_predicted": 3,
        },
        Completion((HELLO,), Usage(1, 3), False),
    ),
    "Triton": ({"text_output": "Hello."}, Completion((Choice(0, "Hello.", None, None, ()),), None, False)),
    "usage that is no number": (
        _chat(_message("Hello."), usage={"prompt_tokens": True, "completion_tokens": -1}),
        Completion((HELLO,), Usage(None, None), False),
    ),
    "choices of something else": ({"choices": ["red", "blue"]}, None),
    "choices without a message": ({"choices": [{"index": 0}]}, None),
    "no choices and no object": ({"choices": []}, None),
    "rows": ([{"label": "cat"}], None),
    "a row among texts": ([{"generated_text": "a"}, {"label": "cat"}], None),
    "predictions": ({"predictions": [1]}, None),
    "content that is no answer": ({"content": "x", "stop": "x"}, None),
    "null": (None, None),
    "a text": ("Hello.", None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    """Each form gives its completion, and what is none of them gives none."""
    document, expected = ANSWERS[name]
    assert read_completion(document) == expected


def test_streamed_is_said() -> None:
    """Whoever knows that an answer came in pieces says so."""
    found = read_completion(_chat(_message("Hello.")), is_streamed=True)
    assert found is not None
    assert found.is_streamed


def test_openai() -> None:
    """OpenAI's forms are told from others'."""
    openai = {"chat", "completions", "responses"}
    others = {"Anthropic", "Ollama, generate", "llama.cpp", "Triton", "Hugging Face, a pipeline of two texts"}
    assert {name for name in openai | others if is_openai(ANSWERS[name][0])} == openai


def test_text_of_what_is_no_text() -> None:
    """Numbers, null and parts that are no objects have no text."""
    odd: list[Any] = [None, 3, {}, [1, None, {"text": 2}]]
    assert [text_of(value) for value in odd] == ["", "", "", ""]


KEYS: tuple[str, ...] = (
    *("choices", "message", "content", "delta", "text", "index"),
    *("finish_reason", "object", "output", "type", "refusal", "role"),
    *("tool_calls", "function", "name", "arguments", "usage", "details"),
    *("done", "response", "stop", "generated_text", "text_output", "status"),
    *("incomplete_details"),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "a", "response", "message", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(values)
def test_any_json_has_a_completion_or_none(document: Any) -> None:
    """Whatever the values under the keys that are looked for: no exception, and every part of its type."""
    found = read_completion(document)
    for choice in found.choices if found is not None else ():
        assert type(choice.index) is int
        assert type(choice.text) is str
        assert choice.finish_reason is None or type(choice.finish_reason) is str
        assert choice.refusal is None or type(choice.refusal) is str
        assert all(type(call.name) is str for call in choice.tool_calls)
