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
    "chat, sound and what is said in it": (
        _chat(_message(None, audio={"id": "a", "data": "AAAA", "transcript": "Hello."})),
        Completion((HELLO,), None, False),
    ),
    "chat, an empty refusal is none": (
        _chat({**_message("Hello.", refusal=""), "finish_reason": ""}),
        Completion((Choice(0, "Hello.", None, None, ()),), None, False),
    ),
    "chat, a call of a tool without a schema": (
        _chat(_message(None, tool_calls=[{"type": "custom", "custom": {"name": "sh", "input": "ls -l"}}])),
        Completion((Choice(0, "", "stop", None, (ToolCall("sh", "ls -l"),)),), None, False),
    ),
    "chat, calls without arguments": (
        _chat(
            _message(
                None,
                tool_calls=[{"function": {"name": "f", "arguments": ""}}, {"function": {"name": "g"}}],
            )
        ),
        Completion((Choice(0, "", "stop", None, (ToolCall("f", {}), ToolCall("g", {}))),), None, False),
    ),
    "responses, what the client is to do": (
        {
            "object": "response",
            "status": "completed",
            "output": [
                {"type": "custom_tool_call", "name": "sh", "input": "ls"},
                {"type": "computer_call", "action": {"type": "click", "x": 1}},
                {"type": "web_search_call", "action": {"query": "x"}},
            ],
        },
        Completion(
            (
                Choice(
                    0,
                    "",
                    "completed",
                    None,
                    (ToolCall("sh", "ls"), ToolCall("computer_call", {"type": "click", "x": 1})),
                ),
            ),
            None,
            False,
        ),
    ),
    "Gemini": (
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "Hm.", "thought": True},
                            {"text": "Hel"},
                            {"text": "lo."},
                            {"functionCall": {"name": "f", "args": {"a": 1}}},
                        ],
                    },
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3},
            "responseId": "x",
        },
        Completion((Choice(0, "Hello.", "STOP", None, (ToolCall("f", {"a": 1}),)),), Usage(9, 3), False),
    ),
    "Gemini, a prompt that is blocked": (
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}},
        Completion((Choice(0, "", None, "SAFETY", ()),), Usage(9, None), False),
    ),
    "Gemini, nothing said": (
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        Completion((Choice(0, "", "MAX_TOKENS", None, ()),), None, False),
    ),
    "candidates of something else": ({"candidates": ["Ada", "Eve"]}, None),
    "candidates who are persons": ({"candidates": [{"name": "Ada"}]}, None),
    "Cohere": (
        {
            "id": "c",
            "finish_reason": "COMPLETE",
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello."}],
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "usage": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 9, "output_tokens": 3}},
        },
        Completion((Choice(0, "Hello.", "COMPLETE", None, (ToolCall("f", {}),)),), Usage(9, 3), False),
    ),
    "Cohere, of old": (
        {"text": "Hello.", "generation_id": "g", "finish_reason": "COMPLETE", "meta": {}},
        Completion((Choice(0, "Hello.", "COMPLETE", None, ()),), None, False),
    ),
    "Bedrock, converse": (
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [{"text": "Hello."}, {"toolUse": {"name": "f", "input": {"a": 1}}}],
                }
            },
            "stopReason": "tool_use",
            "usage": {"inputTokens": 9, "outputTokens": 3},
            "metrics": {"latencyMs": 7},
        },
        Completion((Choice(0, "Hello.", "tool_use", None, (ToolCall("f", {"a": 1}),)),), Usage(9, 3), False),
    ),
    "Bedrock, Titan": (
        {
            "inputTextTokenCount": 5,
            "results": [{"tokenCount": 3, "outputText": "Hello.", "completionReason": "FINISH"}],
        },
        Completion((Choice(0, "Hello.", "FINISH", None, ()),), None, False),
    ),
    "Bedrock, Llama": (
        {
            "generation": "Hello.",
            "prompt_token_count": 9,
            "generation_token_count": 3,
            "stop_reason": "stop",
        },
        Completion((HELLO,), None, False),
    ),
    "SGLang": (
        {
            "text": "Hello.",
            "output_ids": [1, 2],
            "meta_info": {
                "id": "x",
                "finish_reason": {"type": "stop"},
                "prompt_tokens": 9,
                "completion_tokens": 3,
            },
        },
        Completion((HELLO,), Usage(9, 3), False),
    ),
    "vLLM, generate": (
        {"text": ["Hi. Hello.", "Hi. Hey."]},
        Completion(
            (Choice(0, "Hi. Hello.", None, None, ()), Choice(1, "Hi. Hey.", None, None, ())), None, False
        ),
    ),
    "Whisper": (
        {"task": "transcribe", "language": "en", "duration": 3.1, "text": "Hello.", "segments": [{"id": 0}]},
        Completion((Choice(0, "Hello.", None, None, ()),), None, False),
    ),
    "Hugging Face, summaries": (
        [{"summary_text": "a"}, {"summary_text": "b"}],
        Completion((Choice(0, "a", None, None, ()), Choice(1, "b", None, None, ())), None, False),
    ),
    "Hugging Face, a translation": (
        [{"translation_text": "a"}],
        Completion((Choice(0, "a", None, None, ()),), None, False),
    ),
    "Hugging Face, a list for each text": (
        [[{"generated_text": "a"}], [{"generated_text": "b"}]],
        Completion((Choice(0, "a", None, None, ()), Choice(1, "b", None, None, ())), None, False),
    ),
    "Hugging Face, a conversation": (
        [
            {
                "generated_text": [
                    {"role": "user", "content": "Hi."},
                    {"role": "assistant", "content": "Hello."},
                ]
            }
        ],
        Completion((Choice(0, "Hello.", None, None, ()),), None, False),
    ),
    "llama.cpp, several prompts": (
        [
            {"index": 0, "content": "a", "stop": True, "stop_type": "eos"},
            {"index": 1, "content": "b", "stop": True, "stop_type": "limit"},
        ],
        Completion((Choice(0, "a", "eos", None, ()), Choice(1, "b", "limit", None, ())), None, False),
    ),
    "a text beside a label": ({"text": "x", "label": "cat"}, None),
    "an answer beside where it stands": ({"answer": "x", "score": 0.5, "start": 1, "end": 2}, None),
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


BEGINNINGS: list[Any] = [
    {"choices": [{"message": {"content": "a"}}]},
    {"choices": [{"text": "a", "index": 1}, {"text": "b"}]},
    {"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
    {
        "object": "response",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
    },
    {"done": True, "response": "a"},
    {"generated_text": "a"},
]


def put(document: Any, places: list[int], value: Any) -> Any:
    """Return ``document`` with ``value`` somewhere in it: down the members that ``places`` count."""
    if not places or not document or not isinstance(document, dict | list):
        return value
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    chosen = keys[places[0] % len(keys)]
    members = [
        (key, put(document[key], places[1:], value) if key == chosen else document[key]) for key in keys
    ]
    return dict(members) if isinstance(document, dict) else [member for _, member in members]


def check_parts(document: Any) -> bool:
    """Check the type of every part of what is read; tell whether there is any."""
    found = read_completion(document)
    for choice in found.choices if found is not None else ():
        assert type(choice.index) is int
        assert type(choice.text) is str
        assert choice.finish_reason is None or type(choice.finish_reason) is str
        assert choice.refusal is None or type(choice.refusal) is str
        assert all(type(call.name) is str for call in choice.tool_calls)
    return found is not None and bool(found.choices)


@given(values, st.sampled_from(BEGINNINGS), st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_any_json_has_a_completion_or_none(value: Any, beginning: Any, places: list[int]) -> None:
    """Whatever the values under the keys that are looked for: no exception, and every part of its type."""
    assert check_parts(beginning)
    check_parts(value)
    check_parts(put(beginning, places, value))
