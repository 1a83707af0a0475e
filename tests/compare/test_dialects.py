"""Streams of services with a form of their own add up to the answer those give in one piece."""

from typing import Any

import orjson
import pytest

from proxy.compare.completions import read_completion
from proxy.compare.decode import decode
from proxy.compare.dialects import Candidates, GrownText
from proxy.compare.streams import Assembled, assemble
from proxy.compare.values import Choice, Completion, Prediction, ToolCall, Undecodable, Usage
from tests.compare.test_streams import pieces


def gemini(*parts: Any, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """Return one piece of Gemini's."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
        "responseId": "r",
    }


def cohere(kind: str, *, index: int = 0, **message: Any) -> dict[str, Any]:
    """Return one piece of Cohere's."""
    return {"type": kind, "index": index, "delta": {"message": message}}


def sglang(text: str, finish: str | None = None) -> dict[str, Any]:
    """Return one piece of SGLang's."""
    reason = None if finish is None else {"type": finish}
    return {"text": text, "meta_info": {"finish_reason": reason, "prompt_tokens": 3, "completion_tokens": 2}}


def output(text: str) -> dict[str, Any]:
    """Return one piece of MLServer's."""
    named = {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    return {"model_name": "m", "id": "a", "outputs": [named]}


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
STREAMS: dict[str, tuple[list[Any], list[Choice], Usage | None, list[int]]] = {
    "Gemini": (
        [
            gemini({"text": "Hm", "thought": True}),
            gemini({"text": "Hel"}),
            gemini({"text": "lo"}, CALL),
            gemini({"text": ""}, finish="STOP"),
        ],
        [Choice(0, "Hello", "STOP", None, (ToolCall("f", {"a": 1}),))],
        Usage(3, 2),
        [1, 2, 3],
    ),
    "Gemini, candidates by turns": (
        [
            gemini({"text": "b"}, index=1),
            gemini({"text": "a"}, finish="STOP"),
            gemini(finish="STOP", index=1),
        ],
        [Choice(0, "a", "STOP", None, ()), Choice(1, "b", "STOP", None, ())],
        Usage(3, 2),
        [1, 2],
    ),
    "Gemini, a prompt that is blocked": (
        [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}],
        [Choice(0, "", None, "SAFETY", ())],
        Usage(3, None),
        [],
    ),
    "Cohere": (
        [
            {"id": "c", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
            cohere("content-start", content={"type": "text", "text": ""}),
            cohere("content-delta", content={"text": "Hel"}),
            cohere("content-delta", content={"text": "lo"}),
            {"type": "content-end", "index": 0},
            cohere(
                "tool-call-start",
                tool_calls={"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}},
            ),
            cohere("tool-call-delta", tool_calls={"function": {"arguments": '{"a"'}}),
            cohere("tool-call-delta", tool_calls={"function": {"arguments": ": 1}"}}),
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
                },
            },
        ],
        [Choice(0, "Hello", "COMPLETE", None, (ToolCall("f", {"a": 1}),))],
        Usage(3, 2),
        [3, 4, 6, 7, 8],
    ),
    "SGLang": (
        [sglang("Hel"), sglang("Hello"), sglang("Hello", "stop")],
        [Choice(0, "Hello", "stop", None, ())],
        Usage(3, 2),
        [1, 2],
    ),
    "SGLang, set up to say what is new": (
        [sglang("Hel"), sglang("lo", "stop")],
        [Choice(0, "Hello", "stop", None, ())],
        Usage(3, 2),
        [1, 2],
    ),
    "MLServer": (
        [output("Hel"), output(""), output("lo")],
        [Choice(0, "Hello", None, None, ())],
        None,
        [1, 3],
    ),
    "a transcription": (
        [
            {"type": "transcript.text.delta", "delta": "Hel"},
            {"type": "transcript.text.delta", "delta": "lo"},
            {
                "type": "transcript.text.done",
                "text": "Hello",
                "usage": {"type": "tokens", "input_tokens": 3, "output_tokens": 2},
            },
        ],
        [Choice(0, "Hello", None, None, ())],
        Usage(3, 2),
        [1, 2],
    ),
    "vLLM, generate": (
        [{"text": ["He", "H"]}, {"text": ["Hello", "Hey"]}],
        [Choice(0, "Hello", None, None, ()), Choice(1, "Hey", None, None, ())],
        None,
        [1, 2],
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str) -> None:
    """What was said, what it took, and which pieces had a part of it."""
    documents, choices, usage, ends = STREAMS[name]
    found = assemble(pieces(*documents))
    assert isinstance(found, Assembled)
    assert read_completion(found.document, is_streamed=True) == Completion(tuple(choices), usage, True)
    assert found.ends == ends


def test_outputs_are_joined() -> None:
    """What MLServer says piece by piece is one answer: texts are one, rows follow each other, each output by itself."""

    def piece(*rows: int) -> dict[str, Any]:
        numbers = {"name": "n", "datatype": "INT64", "shape": [len(rows), 1], "data": [list(rows)]}
        return {"outputs": [*output("a")["outputs"], numbers]}

    found = assemble(pieces({"id": "1", **piece(1)}, {"id": "2", **piece(2, 3)}))
    assert isinstance(found, Assembled)
    assert found.document == {
        "id": "1",
        "outputs": [
            {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": ["aa"]},
            {"name": "n", "datatype": "INT64", "shape": [3, 1], "data": [1, 2, 3]},
        ],
    }


def test_parts_are_joined() -> None:
    """What Gemini says piece by piece stands in its answer as one part of each kind."""
    found = assemble(pieces(*STREAMS["Gemini"][0]))
    assert isinstance(found, Assembled)
    parts = found.document["candidates"][0]["content"]["parts"]
    assert parts == [{"text": "Hm", "thought": True}, {"text": "Hello"}, CALL, {"text": ""}]


CUT: dict[str, list[Any]] = {
    "Gemini": STREAMS["Gemini"][0][:-1],
    "Gemini, one of two": STREAMS["Gemini, candidates by turns"][0][:-1],
    "Cohere": STREAMS["Cohere"][0][:-1],
    "a transcription": STREAMS["a transcription"][0][:-1],
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut(name: str) -> None:
    """A stream without its end says so."""
    assert assemble(pieces(*CUT[name])) == Undecodable("cut")


def test_a_list_is_a_stream() -> None:
    """Without ``alt=sse``, Gemini streams one list of JSON: it says the same as its events."""
    documents, choices, usage, _ = STREAMS["Gemini"]
    found = decode(200, b"application/json", None, orjson.dumps(documents))
    assert isinstance(found, Prediction)
    assert found.completion == Completion(tuple(choices), usage, True)
    for broken, reason in (
        (documents[:-1], "cut"),
        ([*documents, {"error": {"code": 503}}], "stream_error"),
    ):
        assert decode(200, b"application/json", None, orjson.dumps(broken)) == Undecodable(reason)


OTHERS: dict[str, Any] = {
    "candidates who are persons": {"candidates": [{"name": "Ada"}]},
    "candidates who are names": {"candidates": ["Ada"]},
    "a text beside a label": {"text": "a", "label": "b"},
    "texts beside a label": {"text": ["a"], "label": "b"},
    "no texts": {"text": [1]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_rows_that_look_alike(name: str) -> None:
    """A row of a batch is not taken for the beginning of a text."""
    assert not Candidates.begins_with(OTHERS[name])
    assert not GrownText.begins_with(OTHERS[name])
