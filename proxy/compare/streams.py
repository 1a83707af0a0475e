"""The pieces of a generating model's answer → the answer that they add up to.

What comes out has the form of the service's own answer in one piece, so that everything that is said of that (where
the text is, which pointer names what) is true of a stream as well, and a streamed answer can be compared with one
that was not.

A stream is *whole* when it says so: by ``[DONE]``, by the event that ends it, or because every choice has a reason to
have finished. One that ends before is cut, whatever the transport made of it. An ``error`` among the pieces is the
end of it: that is what clients raise.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

import orjson

from proxy.compare.completions import text_of
from proxy.compare.content import parse_json
from proxy.compare.dialects import (
    Candidates,
    CohereMessage,
    GrowingAnswer,
    GrowingOutputs,
    GrownText,
    Transcript,
)
from proxy.compare.events import Piece, read_lines
from proxy.compare.values import Json, Undecodable

__all__ = ["DONE", "Assembled", "assemble", "assemble_body", "assemble_list", "begins_answer", "parse_piece"]

DONE: Final = b"[DONE]"
"""What ends a stream of OpenAI's, in the place of an event's data."""

_REMEMBERED_BYTES: Final = 256 * 1024
"""A thousand events; four of these bodies and what they say are 10 MiB at most."""

_STREAM_ERROR: Final = Undecodable("stream_error")
_CUT: Final = Undecodable("cut")

_Object = dict[str, Json]


class Assembled(NamedTuple):
    """What a stream added up to."""

    document: Json
    """As the service answers in one piece."""
    ends: list[int]
    """Where each piece ended that had a part of what was generated (a text, a call), in bytes of the body."""


def parse_piece(data: bytes) -> Json | Undecodable:
    """Parse the JSON of one piece; bytes that are not UTF-8 are replaced, as an event stream's reader does."""
    return parse_json(data if data.isascii() else data.decode(errors="replace").encode())


def assemble(pieces: Iterable[Piece], *, is_partial: bool = False) -> Assembled | Undecodable | None:
    """Return what a stream adds up to.

    ``None`` when its first piece is not one of a generating model's. Reasons: ``invalid_json``, ``stream_error`` (an
    error among the pieces), ``cut`` (the end is missing).

    Args:
        pieces: in their order; read as far as ``[DONE]``.
        is_partial: take what there is: a missing end and what cannot be read are no reasons then.
    """
    return _conclude(_gather(pieces), is_partial=is_partial)


def assemble_body(
    body: bytes, cut: Callable[[bytes], Iterator[Piece]], *, is_partial: bool = False
) -> Assembled | Undecodable | None:
    """Return :func:`assemble` of a body, which ``cut`` cuts into pieces.

    The last few are remembered: what an answer says and how fast it came are asked one after the other, and a primary
    is compared with each of its shadows. Nobody may change what comes out.
    """
    gather = _remembered if len(body) <= _REMEMBERED_BYTES else _gather_body
    gathered = gather(body, cut)
    return _conclude(gathered, is_partial=is_partial)


def assemble_list(documents: list[Json]) -> Assembled | Undecodable | None:
    """Return what Gemini's stream adds up to where it comes as one list: :func:`assemble` of what is parsed already."""
    first = documents[0] if documents else None
    if type(first) is not dict or not Candidates.begins_with(first):
        return None
    answer = Candidates()
    for piece in documents:
        if type(piece) is dict:
            if piece.get("error"):
                return _STREAM_ERROR
            answer.add(piece)
    return Assembled(answer.document(), []) if answer.is_whole() else _CUT


class _Gathered(NamedTuple):
    """A stream as far as it could be read."""

    assembled: Assembled
    failure: Undecodable | None
    """Why that is not all of it."""


def _gather(pieces: Iterable[Piece], *, are_lines: bool = False) -> _Gathered | None:
    rest = iter(pieces)
    first = next(rest, None)
    answer = None if first is None else _answer_of(parse_piece(first.data), are_lines=are_lines)
    if first is None or answer is None:
        return None
    ends: list[int] = []
    failure = _take_all(answer, chain((first,), rest), ends)
    if failure is None and not answer.is_whole():
        failure = _CUT
    return _Gathered(Assembled(answer.document(), ends), failure)


@lru_cache(maxsize=4)
def _remembered(body: bytes, cut: Callable[[bytes], Iterator[Piece]]) -> _Gathered | None:
    return _gather_body(body, cut)


def _gather_body(body: bytes, cut: Callable[[bytes], Iterator[Piece]]) -> _Gathered | None:
    return _gather(cut(body), are_lines=cut is read_lines)


def _conclude(gathered: _Gathered | None, *, is_partial: bool) -> Assembled | Undecodable | None:
    if gathered is None or gathered.failure is None or is_partial:
        return None if gathered is None else gathered.assembled
    return gathered.failure


def _take_all(answer: GrowingAnswer, pieces: Iterable[Piece], ends: list[int]) -> Undecodable | None:
    """Give ``answer`` its pieces, and ``ends`` the places of those with content; return why it was not all."""
    for data, end in pieces:
        if data.strip() == DONE:
            answer.has_ended = True
            return None
        document = parse_piece(data)
        if isinstance(document, Undecodable):
            return document
        if type(document) is dict:
            if document.get("error") or "error" in (document.get("type"), document.get("object")):
                return _STREAM_ERROR
            if answer.add(document):
                ends.append(end)
    return None


def begins_answer(piece: Json) -> bool:
    """Whether a parsed piece is such as a generating model's answer begins with."""
    return _answer_of(piece) is not None


def _answer_of(piece: Json, *, are_lines: bool = False) -> GrowingAnswer | None:
    """Return the kind of answer that ``piece`` begins: an event, or a line."""
    if type(piece) is not dict:
        return None
    kind, choices = piece.get("type"), piece.get("choices")
    if type(choices) is list:
        # A line that is a whole answer is a row of a batch, not a piece.
        is_whole = any(type(each) is dict and "message" in each and "delta" not in each for each in choices)
        return None if is_whole else _Choices()
    if type(kind) is str and (answer := _answer_of_kind(kind)) is not None:
        return answer
    if Candidates.begins_with(piece):
        return Candidates()
    if "event_type" in piece and "is_finished" in piece:
        return _Plain(("text",))  # Cohere, of old
    if GrownText.begins_with(piece):
        return GrownText()
    if GrowingOutputs.begins_with(piece):
        return GrowingOutputs(are_rows=are_lines)
    for place, mark in _PLAIN:
        if mark in piece and type(_at(piece, place)) is str:
            return _Plain(place)
    return _Failed() if piece.get("error") and piece.keys() <= _ERROR_KEYS else None


def _answer_of_kind(kind: str) -> GrowingAnswer | None:
    """Return the kind of answer whose first piece says that it is of the type ``kind``."""
    if kind.startswith("response."):
        return _Response()
    if kind in ("message_start", "ping"):
        return _Message()
    if kind == "message-start":
        return CohereMessage()
    return Transcript() if kind.startswith("transcript.text.") else None


_ERROR_KEYS: Final = frozenset(
    {
        *("code", "detail", "error", "error_type", "message", "object", "param", "request_id"),
        *("status", "status_code", "type"),
    }
)
"""An object of nothing else is an error; a row of a batch may call a number so, beside others."""


class _Failed(GrowingAnswer):
    """A stream that begins with an error: its service is not known, and need not be."""

    def add(self, _piece: _Object) -> bool:
        return False

    def document(self) -> _Object:
        return {}


class _Choices(GrowingAnswer):
    """OpenAI's chat (``delta``) and completions (``text``)."""

    def __init__(self) -> None:
        super().__init__()
        self._head: _Object = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Json = None

    def is_whole(self) -> bool:
        choices = self._choices.values()
        return self.has_ended or (
            bool(choices) and all(choice.finish_reason is not None for choice in choices)
        )

    def add(self, piece: _Object) -> bool:
        for name in ("id", "object", "created", "model", "system_fingerprint"):
            if piece.get(name) and not self._head.get(name):
                self._head[name] = piece[name]
        if type(piece.get("usage")) is dict:
            self._usage = piece["usage"]
        has_content = False
        listed = piece.get("choices")
        for place, each in enumerate(listed if type(listed) is list else ()):
            if type(each) is dict:
                number = each.get("index")
                choice = self._choices.setdefault(number if type(number) is int else place, _Choice())
                has_content |= choice.add(each)
        return has_content

    def document(self) -> _Object:
        head = dict(self._head)
        if type(head.get("object")) is str:
            head["object"] = head["object"].removesuffix(".chunk")
        head.setdefault("object", "chat.completion")
        head["choices"] = [self._choices[index].document(index) for index in sorted(self._choices)]
        return head if self._usage is None else {**head, "usage": self._usage}


_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
"""What of a message comes in pieces of text; the last two are how servers name a model's thoughts."""


class _Choice:
    """One of the answers that are generated side by side."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._is_chat = False
        self._role = "assistant"
        self._texts: dict[str, list[str]] = {}
        self._calls = _Calls()
        self._function: _Call | None = None

    def add(self, each: _Object) -> bool:
        if type(each.get("finish_reason")) is str and each["finish_reason"]:
            self.finish_reason = each["finish_reason"]
        delta = each.get("delta")
        if type(delta) is not dict:
            return self._take("text", each.get("text"))
        self._is_chat = True
        if type(delta.get("role")) is str:
            self._role = delta["role"]
        has_content = False
        for name in _TEXTS:
            if name in delta:
                has_content |= self._take(name, delta[name])
        if type(delta.get("audio")) is dict:
            has_content |= self._take("audio", delta["audio"].get("transcript"))
        listed = delta.get("tool_calls")
        for call in listed if type(listed) is list else ():
            if type(call) is dict:
                has_content |= self._calls.add(call)
        if type(delta.get("function_call")) is dict:
            self._function = self._function or _Call(0)
            has_content |= self._function.add({"function": delta["function_call"]})
        return has_content

    def _take(self, name: str, text: Json) -> bool:
        text = text_of(text)
        if text:
            self._texts.setdefault(name, []).append(text)
        return bool(text)

    def document(self, index: int) -> _Object:
        texts: _Object = {name: "".join(pieces) for name, pieces in self._texts.items()}
        if not self._is_chat:
            return {"index": index, "text": texts.get("text", ""), "finish_reason": self.finish_reason}
        if "audio" in texts:
            texts["audio"] = {"transcript": texts["audio"]}
        message: _Object = {"role": self._role, "content": None, **texts}
        calls = self._calls.documents()
        if calls:
            message["tool_calls"] = calls
        elif self._function is None and not texts.keys() & {"refusal", "audio"}:
            message["content"] = texts.get("content", "")
        if self._function is not None:
            message["function_call"] = self._function.document()["function"]
        return {"index": index, "message": message, "finish_reason": self.finish_reason}


class _Call:
    """A call of a tool: its name comes first, its arguments as pieces of JSON."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.id = ""
        self.names: list[str] = []
        self._kind = "function"
        self._arguments: list[str] = []

    def add(self, call: _Object) -> bool:
        if not self.id and type(call.get("id")) is str:
            self.id = call["id"]
        if type(call.get("type")) is str:
            self._kind = call["type"]
        function = _function(call)
        name = text_of(function.get("name"))
        if name and self.names != [name]:  # some say it again with every piece
            self.names.append(name)
        arguments = function["input"] if "input" in function else function.get("arguments")
        if type(arguments) is dict:
            arguments = orjson.dumps(arguments).decode()
        if type(arguments) is str and arguments:
            self._arguments.append(arguments)
        return bool(name or arguments)

    def document(self) -> _Object:
        name, arguments = "".join(self.names), "".join(self._arguments)
        if self._kind == "custom":
            return {"id": self.id, "type": "custom", "custom": {"name": name, "input": arguments}}
        return {"id": self.id, "type": self._kind, "function": {"name": name, "arguments": arguments}}


def _function(call: _Object) -> _Object:
    function = call.get("function") or call.get("custom")
    return function if type(function) is dict else {}


class _Calls:
    """The calls of one choice.

    A piece belongs to the call of its index. Servers also number every call 0 (Ollama, several gateways) or none: a
    name under another id is another call then, and what names nothing belongs to the call before it.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def add(self, call: _Object) -> bool:
        index, id_ = call.get("index"), call.get("id")
        name = text_of(_function(call).get("name"))
        last = self._calls[-1] if self._calls else None
        known = self._by_index.get(index, None if name or id_ else last) if type(index) is int else last
        if known is not None and name and known.names:
            is_other = bool(id_) and id_ != known.id
            if is_other or (type(index) is not int and not id_):
                known = None
        if known is None:
            known = _Call(index if type(index) is int else len(self._calls))
            self._calls.append(known)
        if type(index) is int:
            self._by_index[index] = known
        return known.add(call)

    def documents(self) -> list[Json]:
        return [call.document() for call in sorted(self._calls, key=lambda call: call.place)]


class _Response(GrowingAnswer):
    """OpenAI's responses: the event that ends the stream has all of it; what comes before, piece by piece, is for
    show."""

    def __init__(self) -> None:
        super().__init__()
        self._response: _Object = {}
        self._items: dict[int, Json] = {}
        self._texts: list[str] = []

    def add(self, piece: _Object) -> bool:
        kind, response, delta = piece.get("type"), piece.get("response"), piece.get("delta")
        if kind == "response.output_item.done" and type(piece.get("item")) is dict:
            number = piece.get("output_index")
            self._items[number if type(number) is int else len(self._items)] = piece["item"]
        if type(response) is dict:
            self._response = response
            self.has_ended = kind in ("response.completed", "response.incomplete", "response.failed")
        if type(kind) is not str or not kind.endswith(".delta") or type(delta) is not str or not delta:
            return False
        if kind == "response.output_text.delta":
            self._texts.append(delta)
        return True

    def document(self) -> _Object:
        if self._response.get("output") or not (self._texts or self._items):
            return {"object": "response", "output": [], **self._response}
        if self._items:  # several gateways leave it to these to say what was generated
            items = [self._items[index] for index in sorted(self._items)]
            return {"object": "response", **self._response, "output": items}
        content = [{"type": "output_text", "text": "".join(self._texts)}]
        message = {"type": "message", "role": "assistant", "content": content}
        return {"object": "response", **self._response, "output": [message]}


class _Message(GrowingAnswer):
    """Anthropic's messages: blocks by number, then why it stopped and what it took."""

    def __init__(self) -> None:
        super().__init__()
        self._message: _Object = {}
        self._usage: _Object = {}
        self._blocks: dict[int, _Object] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}

    def add(self, piece: _Object) -> bool:
        kind, delta, number = piece.get("type"), piece.get("delta"), piece.get("index")
        index = number if type(number) is int else 0
        self.has_ended = self.has_ended or kind == "message_stop"
        if kind == "message_start" and type(piece.get("message")) is dict:
            self._message = piece["message"]
            self._spend(self._message.get("usage"))
        elif kind == "content_block_start" and type(piece.get("content_block")) is dict:
            self._blocks[index] = piece["content_block"]
        elif kind == "content_block_delta" and type(delta) is dict:
            for name, member in _DELTAS:
                text = delta.get(name)
                if type(text) is str and text:
                    self._pieces.setdefault(index, {}).setdefault(member, []).append(text)
                    return True
        elif kind == "message_delta":
            self._spend(piece.get("usage"))
            if type(delta) is dict:
                self._message.update(delta)
        return False

    def _spend(self, usage: Json) -> None:
        if type(usage) is dict:
            self._usage.update(usage)

    def document(self) -> _Object:
        blocks = []
        for index in sorted({*self._blocks, *self._pieces}):
            block = self._blocks.get(index, {"type": "text"})
            for member, pieces in self._pieces.get(index, {}).items():
                begun = block.get(member)
                block = {**block, member: "".join([begun if type(begun) is str else "", *pieces])}
            blocks.append(block)
        return {"type": "message", **self._message, "content": blocks, "usage": self._usage}


_DELTAS: Final = (("text", "text"), ("partial_json", "input"), ("thinking", "thinking"))
"""What a piece of a block is called, and which member of the block it continues."""


_PLAIN: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("response",), "done"),  # Ollama, generate
    (("message", "content"), "done"),  # Ollama, chat
    (("content",), "stop"),  # llama.cpp, completion
    (("token", "text"), "token"),  # Hugging Face's text-generation-inference
    (("text_output",), "text_output"),  # Triton, generate_stream
)
"""Where a plain piece has its text, and a key that such a piece has as well."""


def _at(piece: _Object, place: tuple[str, ...]) -> Json:
    value: Json = piece
    for key in place:
        value = value.get(key) if type(value) is dict else None
    return value


class _Plain(GrowingAnswer):
    """Pieces of text, the last of which tells the rest."""

    def __init__(self, place: tuple[str, ...]) -> None:
        super().__init__()
        self._place = place
        self._texts: list[str] = []
        self._calls: list[Json] = []
        self._last: _Object = {}
        # Triton says of no piece that it is the last one.
        self.has_ended = place == ("text_output",)

    def add(self, piece: _Object) -> bool:
        self._last = piece
        text = _at(piece, self._place)
        calls = _at(piece, ("message", "tool_calls"))
        if True in (piece.get("done"), piece.get("stop"), piece.get("is_finished")):
            self.has_ended = True
        self.has_ended = self.has_ended or type(piece.get("generated_text")) is str
        if type(calls) is list:
            self._calls += calls
        if (
            type(text) is str
            and text
            and not (self._place[0] == "token" and _at(piece, ("token", "special")))
        ):
            self._texts.append(text)
            return True
        return bool(calls)

    def document(self) -> _Object:
        text, last = "".join(self._texts), self._last
        if self._place[0] == "token":
            whole = last.get("generated_text")
            return {"generated_text": whole if type(whole) is str else text, "details": last.get("details")}
        if self._place[0] == "message":
            message = {"role": "assistant", "content": text}
            return {**last, "message": {**message, "tool_calls": self._calls} if self._calls else message}
        return {**last, self._place[0]: text}
