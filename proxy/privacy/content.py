"""Whether a body is what people wrote, or what was written for them; and what may be kept of it all the same.

Pure. A table of measurements says little to who reads the records, a conversation says everything. So free text is
not written unless it is asked for: of it are kept a keyed hash of what it says, by which equal prompts can be found,
and the tokens that it took. Free text is

* what generating models are asked and answer, in the dialects that :mod:`proxy.compare` reads, and embeddings, from
  which a text can be had back (Morris et al. 2023, "Text embeddings reveal (almost) as much as text");
* a stream of events, ``text/*`` but CSV, forms, and whatever else is text and no JSON.
"""

import re
from collections.abc import Callable
from typing import Final

import orjson

from proxy.compare.completions import read_completion
from proxy.compare.content import media_type, parse_json
from proxy.compare.decode import cutter_of, decode_plain, is_json_type
from proxy.compare.embeddings import read_embeddings
from proxy.compare.events import read_lines
from proxy.compare.streams import assemble_list, begins_answer, parse_piece
from proxy.compare.values import Completion, Json, Undecodable, Usage

__all__ = ["answer_speaks", "may_speak", "request_speaks", "said_in_answer", "said_in_request"]

_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
"""As nearly everybody writes it."""
_CSV: Final = b"text/csv"
_EVENTS: Final = b"text/event-stream"
_FORMS: Final = frozenset({b"multipart/form-data", b"application/x-www-form-urlencoded"})

_ASKED: Final = (
    "messages",
    "prompt",
    "prompts",
    "input",
    "inputs",
    "text_input",
    "contents",
    "inputText",
    "input_text",
    "question",
    "system",
    "instructions",
)
"""Members that hold what a generating or embedding model is asked: OpenAI's dialect, Anthropic, Ollama, Hugging Face
(``inputs``, a text), Triton's generate extension (``text_input``), Gemini (``contents``), Amazon's Titan
(``inputText``)."""

_ASKED_BESIDE: Final = {
    "text": ("sampling_params",),  # SGLang
    "message": ("chat_history", "conversation_id", "model", "preamble"),  # Cohere, of old
    "texts": ("embedding_types", "input_type", "model"),  # Cohere
    "query": ("documents",),  # rerankers
    "content": ("embedContentConfig", "model", "taskType"),  # Gemini, embeddings
}
"""The same of names that other models have too: where one of these stands beside them."""

# One look at the bytes tells of most bodies that there is nothing to parse them for. An escape may hide a key.
_MAY_ASK: Final = re.compile(
    rb'"(?:messages|prompts?|input|text_input|contents?|inputText|input_text|question|text|message|texts|query|requests)"'
    rb"[ \t\r\n]*+:"
    rb'|"inputs"[ \t\r\n]*+:[ \t\r\n]*+(?:[\[{][ \t\r\n]*+)?"'
    rb"|\\u00"
)
_MAY_ANSWER: Final = re.compile(
    rb'"(?:choices|candidates|output|content|response|message|embeddings?|delta|answer|completion|text'
    rb"|generat(?:ed_text|ions?)|text_output|(?:summary|translation|output)_text|outputText)\"[ \t\r\n]*+:|\\u00"
)


def request_speaks(content_type: bytes | None, header_length: int | None, plain: bytes) -> bool | None:
    """Tell whether a whole request, content-encoding undone, asks in free text; None: it says nothing that tells."""
    return _speaks(content_type, header_length, plain, _MAY_ASK, _asks)


def answer_speaks(content_type: bytes | None, header_length: int | None, plain: bytes) -> bool | None:
    """Tell whether a whole answer, content-encoding undone, is free text; None: it says nothing that tells."""
    return _speaks(content_type, header_length, plain, _MAY_ANSWER, _answers)


def _speaks(
    content_type: bytes | None,
    header_length: int | None,
    plain: bytes,
    sign: re.Pattern[bytes],
    is_dialect: Callable[[Json], bool],
) -> bool | None:
    if not plain:
        return None
    if content_type in _JSON and header_length is None and sign.search(plain) is None:
        return False  # most bodies: no need to look at them in any other way
    if header_length is not None and header_length != len(plain):
        return False  # binary tensors
    kind, charset = media_type(content_type)
    if kind in _FORMS or kind == _EVENTS:
        return True
    if kind == _CSV:
        return False
    if cutter_of(kind) is not None:
        return _lines_speak(plain, sign, is_dialect)
    if is_json_type(kind, plain) or kind.startswith(b"text/"):
        document = parse_json(plain, charset) if sign.search(plain) or charset else None
        if document is not None and not isinstance(document, Undecodable):
            return is_dialect(document)
        if not kind.startswith(b"text/"):
            # What is no JSON may be lines of it, under another type.
            return (
                (_lines_speak(plain, sign, is_dialect) or None)
                if isinstance(document, Undecodable)
                else False
            )
        return isinstance(parse_json(plain, charset), Undecodable)
    return _is_utf8(plain)


def _lines_speak(plain: bytes, sign: re.Pattern[bytes], is_dialect: Callable[[Json], bool]) -> bool | None:
    """Tell whether one of several lines is of a text, a piece of one or all of it; None: some cannot be read."""
    if sign.search(plain) is None:
        return False
    documents = [parse_piece(line.data) for line in read_lines(plain)]
    if any(
        is_dialect(each) or begins_answer(each) for each in documents if not isinstance(each, Undecodable)
    ):
        return True
    return None if any(isinstance(each, Undecodable) for each in documents) else False


def _is_utf8(plain: bytes) -> bool:
    try:
        return "\0" not in plain.decode()
    except UnicodeDecodeError:
        return False


def may_speak(content_type: bytes | None, piece: bytes) -> bool:
    """Tell whether a body of which only a piece can be read may be free text.

    Args:
        content_type: header value, or None.
        piece: what there is of it; empty where it is compressed.
    """
    kind = media_type(content_type)[0]
    return (
        kind in _FORMS
        or (kind.startswith(b"text/") and kind != _CSV)
        or _MAY_ASK.search(piece) is not None
        or _MAY_ANSWER.search(piece) is not None
    )


def _asks(document: Json) -> bool:
    if not isinstance(document, dict):
        return False
    if any(_is_asked(name, document.get(name)) for name in _ASKED[:-2]):
        return True
    if any(document.get(name) and not others.isdisjoint(document) for name, others in _ASKED_BY_OTHERS):
        return True
    listed = document.get("requests")  # Gemini's embeddings of several
    return isinstance(listed, list) and any(isinstance(each, dict) and "content" in each for each in listed)


_ASKED_INSIDE: Final = frozenset({"prompt", "question", "text"})
"""What an object that is asked holds: a record of features has other names."""
_ASKED_BY_OTHERS: Final = tuple((name, frozenset(others)) for name, others in _ASKED_BESIDE.items())


def _is_asked(name: str, value: Json) -> bool:
    """Whether ``value`` is a text, texts, or (but for tensors, which have the name ``inputs`` too) messages."""
    if isinstance(value, str):
        return True
    if isinstance(value, dict):
        return not _ASKED_INSIDE.isdisjoint(value) and any(isinstance(each, str) for each in value.values())
    each = (str,) if name == "inputs" else (str, dict)
    return isinstance(value, list) and bool(value) and isinstance(value[0], each)


def _answers(document: Json) -> bool:
    if read_completion(document) is not None or read_embeddings(document) is not None:
        return True
    if isinstance(document, list):
        return assemble_list(document) is not None
    if not isinstance(document, dict):
        return False
    for name, member in (("data", "embedding"), ("generations", "text")):
        listed = document.get(name)
        if isinstance(listed, list) and listed and isinstance(listed[0], dict) and member in listed[0]:
            return True
    return "embedding" in document or "embeddings" in document or "choices" in document


def said_in_request(content_type: bytes | None, plain: bytes) -> bytes:
    """Return what a request asks, without what it says about how: equal prompts give equal bytes."""
    document = parse_json(plain, media_type(content_type)[1])
    if isinstance(document, dict):
        asked = {name: document[name] for name in (*_ASKED, *_ASKED_BESIDE) if name in document}
        if asked:
            return _canonical(asked, plain)
    return plain


def said_in_answer(content_type: bytes | None, plain: bytes) -> tuple[bytes, Usage | None]:
    """Return what an answer says, streamed or not, and what it took: equal texts give equal bytes."""
    read = decode_plain(plain, content_type)
    completion: Completion | None = None if isinstance(read, Undecodable) else read.completion
    if completion is None:
        return plain, None
    said = [[each.text, each.refusal, list(map(list, each.tool_calls))] for each in completion.choices]
    return _canonical(said, plain), completion.usage


def _canonical(value: Json, otherwise: bytes) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than is written, or a lone surrogate
        return otherwise
