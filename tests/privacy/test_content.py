"""What is free text and what is not, and what is kept of it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.content import decode_content
from proxy.compare.decode import decode_plain
from proxy.compare.values import Undecodable, Usage
from proxy.privacy.content import (
    answer_speaks,
    may_speak,
    request_speaks,
    said_in_answer,
    said_in_request,
)
from tests.compare.bodies import BODIES
from tests.privacy.dialects import DIALECTS, body_of

JSON = b"application/json"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
V2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}]}
ANSWER = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ho"}}],
}
STREAM = b"".join(
    b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % piece for piece in (b"h", b"o")
)
STREAM += b"data: [DONE]\n\n"
OLLAMA = b'{"response":"h","done":false}\n{"response":"o","done":true,"prompt_eval_count":3,"eval_count":2}\n'

REQUESTS: dict[str, tuple[bytes | None, Any, bool | None]] = {
    "chat": (JSON, CHAT, True),
    "chat, its type not told": (None, CHAT, True),
    "chat as plain text": (b"text/plain", CHAT, True),
    "chat with an escaped key": (JSON, orjson.dumps(CHAT).replace(b"messages", b"m\\u0065ssages"), True),
    "chat of another charset": (
        b"application/json; charset=utf-16",
        orjson.dumps(CHAT).decode().encode("utf-16"),
        True,
    ),
    "a prompt": (JSON, {"prompt": "hi"}, True),
    "prompts": (JSON, {"prompt": ["hi", "ho"]}, True),
    "to be embedded": (JSON, {"model": "m", "input": "hi"}, True),
    "items of a response": (JSON, {"model": "m", "input": [{"role": "user", "content": "hi"}]}, True),
    "a text for Hugging Face": (JSON, {"inputs": "hi"}, True),
    "texts for Hugging Face": (JSON, {"inputs": ["hi"]}, True),
    "Triton's generate": (JSON, {"text_input": "hi"}, True),
    "Gemini": (JSON, {"contents": [{"parts": [{"text": "hi"}]}]}, True),
    "text": (b"text/plain", b"hi", True),
    "markup": (b"text/html", b"<p>hi", True),
    "a form": (b"application/x-www-form-urlencoded", b"q=hi", True),
    "parts": (b"multipart/form-data; boundary=x", b"--x", True),
    "text of unknown type": (None, b"hi", True),
    "tensors": (JSON, V2, False),
    "tensors with a space": (JSON, b'{"inputs" : [ {"name":"x"} ]}', False),
    "rows": (JSON, {"instances": [[1.0, 2.0]]}, False),
    "numbers called input": (JSON, {"input": [1.5, 2]}, False),
    "numbers called prompt": (JSON, {"prompt": 7}, False),
    "SGLang": (JSON, {"text": "hi", "sampling_params": {}}, True),
    "Titan": (JSON, {"inputText": "hi"}, True),
    "Cohere, of old": (JSON, {"message": "hi", "chat_history": []}, True),
    "Cohere, embeddings": (JSON, {"texts": ["hi"], "input_type": "x"}, True),
    "Gemini, embeddings": (JSON, {"model": "m", "content": {"parts": [{"text": "hi"}]}}, True),
    "Gemini, several embeddings": (JSON, {"requests": [{"content": {"parts": [{"text": "hi"}]}}]}, True),
    "a reranker": (JSON, {"query": "hi", "documents": ["ho"]}, True),
    "a question": (JSON, {"inputs": {"question": "hi", "context": "ho"}}, True),
    "prompts as lines": (b"application/jsonl", b'{"a":1}\n{"prompt":"hi"}\n', True),
    "lines that are said to be JSON": (JSON, b'{"a":1}\n{"prompt":"hi"}\n', True),
    "features with a text": (JSON, {"input": {"age": 3, "colour": "red"}, "text": "x"}, False),
    "columns": (JSON, {"inputs": {"colour": ["red"]}}, False),
    "any other document": (JSON, {"age": 3, "colour": "red"}, False),
    "a list": (JSON, [1, 2], False),
    "csv": (b"text/csv; charset=utf-8", b"a,b\n1,2\n", False),
    "a picture": (b"image/png", b"\x89PNG\0", False),
    "nothing": (None, b"", None),
    "broken": (JSON, b'{"prompt": "hi', None),
    "broken, and nothing says that it is text": (JSON, b'{"a": "hi', False),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    """Who asks in words is told from who sends numbers, by what the request is."""
    content_type, body, expected = REQUESTS[name]
    body = body if isinstance(body, bytes) else orjson.dumps(body)
    assert request_speaks(content_type, None, body) is expected


ANSWERS: dict[str, tuple[bytes | None, Any, bool | None]] = {
    "chat": (JSON, ANSWER, True),
    "a stream": (b"text/event-stream", STREAM, True),
    "lines": (b"application/x-ndjson", OLLAMA, True),
    "messages": (JSON, {"type": "message", "content": [{"type": "text", "text": "ho"}]}, True),
    "generated": (JSON, [{"generated_text": "ho"}], True),
    "embeddings": (JSON, {"object": "list", "data": [{"embedding": [0.5], "index": 0}]}, True),
    "embeddings of Ollama": (JSON, {"embeddings": [[0.5]]}, True),
    "text": (b"text/plain; charset=utf-8", b"ho", True),
    "tensors": (JSON, {"outputs": V2["inputs"]}, False),
    "predictions": (JSON, {"predictions": [{"content": 3}]}, False),
    "rows as lines": (b"application/jsonlines", b'{"a":1}\n{"content":2}\n', False),
    "csv": (b"text/csv", b"0.5\n", False),
    "recommendations": (JSON, {"candidates": [{"id": 7, "score": 0.5}], "message": "ok"}, False),
    "a stream with an error": (
        b"application/x-ndjson",
        b'{"response":"hi","done":false}\n{"error":"no"}\n',
        True,
    ),
    "a stream that was cut": (b"application/x-ndjson", b'{"response":"hi","done":false}\n', True),
    "answers as lines": (b"application/jsonl", b'{"choices":[{"message":{"content":"hi"}}]}\n' * 2, True),
    "a stream that is said to be JSON": (JSON, OLLAMA, True),
    "lines of which one is none": (b"application/jsonl", b'{"text":1}\n{"a', None),
    "generations": (JSON, {"generations": [{"text": "hi"}]}, True),
    "an error in JSON": (JSON, {"error": "no such model"}, False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    """What was generated, or may be turned back into a text, is told from other answers."""
    content_type, body, expected = ANSWERS[name]
    body = body if isinstance(body, bytes) else orjson.dumps(body)
    assert answer_speaks(content_type, None, body) is expected


def test_binary_tensors_are_none() -> None:
    """A body with binary tensors is none, whatever stands in it."""
    body = orjson.dumps(CHAT) + b"\0"
    assert request_speaks(None, len(body) - 1, body) is False


PIECES: dict[str, tuple[bytes | None, bytes, bool]] = {
    "the head of a chat": (JSON, b'{"model":"m","messages":[{"role":"us', True),
    "the head of an answer": (JSON, b'{"id":"7","choices":[', True),
    "a stream": (b"text/event-stream", b"", True),
    "text": (b"text/plain", b"", True),
    "tensors": (JSON, b'{"inputs":[{"name":"x","datatype":"FP32","data":[1.5,', False),
    "csv": (b"text/csv", b"1,2,", False),
    "nothing to read": (JSON, b"", False),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces(name: str) -> None:
    """Of what is cut the beginning tells, of what is compressed the type."""
    content_type, piece, expected = PIECES[name]
    assert may_speak(content_type, piece) is expected


def test_equal_prompts() -> None:
    """What is asked is the same however the sampling is set, and another for another prompt."""
    one, two, other = (
        said_in_request(JSON, orjson.dumps(document))
        for document in (
            {**CHAT, "temperature": 0.2, "stream": True},
            {"seed": 7, "messages": [{"content": "hi", "role": "user"}], "model": "n"},
            {**CHAT, "messages": [{"role": "user", "content": "hi!"}]},
        )
    )
    assert one == two != other
    assert said_in_request(b"text/plain", b"hi") == b"hi"


def test_equal_answers() -> None:
    """What is answered is the same streamed or not, and tokens are told where the answer tells."""
    whole = said_in_answer(
        JSON, orjson.dumps({**ANSWER, "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    )
    streamed = said_in_answer(b"text/event-stream", STREAM)
    lines = said_in_answer(b"application/x-ndjson", OLLAMA)
    assert whole[0] == streamed[0] == lines[0]
    assert whole[1] == lines[1] == Usage(3, 2)
    assert said_in_answer(b"text/plain", b"ho") == (b"ho", None)


TYPES = st.sampled_from(
    [None, JSON, b"text/plain", b"text/event-stream", b"text/csv", b"application/x-ndjson", b"x"]
)


@given(TYPES, st.none() | st.integers(0, 30), st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_never_an_exception(content_type: bytes | None, length: int | None, body: bytes) -> None:
    """Whatever the bytes, there is an answer to each question."""
    assert request_speaks(content_type, length, body) in (True, False, None)
    assert answer_speaks(content_type, length, body) in (True, False, None)
    assert isinstance(said_in_request(content_type, body), bytes)
    assert isinstance(said_in_answer(content_type, body)[0], bytes)


@pytest.mark.parametrize("name", BODIES)
def test_whatever_is_read_as_generated_is_free_text(name: str) -> None:
    """An answer in which a comparison finds what was generated, or embeddings, is free text, in every dialect."""
    body = BODIES[name]
    plain = decode_content(body.data, body.coding, 1 << 22)
    assert isinstance(plain, bytes)
    read = decode_plain(plain, body.kind, body.header_length)
    is_generated = not isinstance(read, Undecodable) and (
        read.completion is not None or any(tensor.name == "embedding" for tensor in read.tensors)
    )
    assert not is_generated or answer_speaks(body.kind, body.header_length, plain)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("is_whole", [True, False])
def test_every_stream_is_free_text(name: str, is_whole: bool) -> None:
    """So is every stream, also one that was cut between two pieces."""
    kind, documents = DIALECTS[name](["hello ", "world"])
    body = body_of(kind, documents if is_whole or len(documents) < 3 else documents[:-1])
    assert answer_speaks(kind or None, None, body)
