"""What a stream's pieces add up to: the base of all such answers, and those of services with a form of their own.

``streams`` has the forms that many servers speak and says which is which; here are Gemini's, Cohere's, those that
repeat what was said before with every piece (SGLang, vLLM's ``generate``), OpenAI's transcriptions, and MLServer's,
whose pieces are answers of the Open Inference Protocol.
"""

from abc import ABC, abstractmethod

from proxy.compare.completions import text_of
from proxy.compare.tensors import oip_tensor
from proxy.compare.values import Json, Tensor

__all__ = ["Candidates", "CohereMessage", "GrowingAnswer", "GrowingOutputs", "GrownText", "Transcript"]

_Object = dict[str, Json]


class GrowingAnswer(ABC):
    """An answer that grows by pieces."""

    def __init__(self) -> None:
        self.has_ended = False

    def is_whole(self) -> bool:
        """Whether the pieces say that nothing follows."""
        return self.has_ended

    @abstractmethod
    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was generated."""

    @abstractmethod
    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""


class Candidates(GrowingAnswer):
    """Gemini's: each piece is a whole answer with some more parts. Nothing ends it but a reason for each candidate."""

    def __init__(self) -> None:
        super().__init__()
        self._last: _Object = {}
        self._feedback: Json = None
        self._candidates: dict[int, _Object] = {}

    @staticmethod
    def begins_with(piece: _Object) -> bool:
        """Whether a stream that begins with ``piece`` is such an answer."""
        if type(piece.get("promptFeedback")) is dict:
            return True
        listed = piece.get("candidates")
        return type(listed) is list and (
            type(piece.get("usageMetadata")) is dict
            or any(type(each) is dict and type(each.get("content")) is dict for each in listed)
        )

    def is_whole(self) -> bool:
        """Whether every candidate has a reason to have finished, or there will be none."""
        found = self._candidates.values()
        return bool(self._feedback if not found else all(each.get("finishReason") for each in found))

    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was generated."""
        self._last.update(piece)
        self._feedback = piece.get("promptFeedback") or self._feedback
        has_content = False
        listed = piece.get("candidates")
        for place, each in enumerate(listed if type(listed) is list else ()):
            if type(each) is not dict:
                continue
            number = each.get("index")
            index = number if type(number) is int else place
            known = self._candidates.setdefault(index, {"content": {"role": "model", "parts": []}})
            known.update(
                {key: value for key, value in each.items() if key != "content" and value is not None}
            )
            content = each.get("content")
            parts = content.get("parts") if type(content) is dict else None
            for part in parts if type(parts) is list else ():
                has_content |= type(part) is dict and _append(known["content"]["parts"], part)
        return has_content

    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""
        found = [self._candidates[index] for index in sorted(self._candidates)]
        for each in found:
            for part in each["content"]["parts"]:
                part.update({key: "".join(value) for key, value in part.items() if key == "text"})
        return {**self._last, "candidates": found} if found else self._last


def _append(parts: list[_Object], part: _Object) -> bool:
    """Add a part; a text continues one of the same kind. Texts are lists of their pieces until the end."""
    text = part.get("text")
    if type(text) is not str:
        parts.append({key: value for key, value in part.items() if key != "text"})
        return "functionCall" in part
    last = parts[-1] if parts else {}
    if "text" in last and last.get("thought") == part.get("thought"):
        last["text"].append(text)
    else:
        parts.append({**part, "text": [text]})
    return bool(text)


class CohereMessage(GrowingAnswer):
    """Cohere's chat: content and calls by number, then why it ended."""

    def __init__(self) -> None:
        super().__init__()
        self._head: _Object = {}
        self._texts: list[str] = []
        self._calls: dict[int, _Object] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was generated."""
        kind, delta, number = piece.get("type"), piece.get("delta"), piece.get("index")
        index = number if type(number) is int else 0
        if kind == "message-start" and "id" in piece:
            self._head["id"] = piece["id"]
        if kind == "message-end":
            self.has_ended = True
            self._head.update(delta if type(delta) is dict else {})
        message = delta.get("message") if type(delta) is dict else None
        if type(message) is not dict:
            return False
        content, call = message.get("content"), message.get("tool_calls")
        text = text_of(content.get("text")) if type(content) is dict else ""
        if text:
            self._texts.append(text)
        return bool(text) | (type(call) is dict and self._add_call(index, call))

    def _add_call(self, index: int, call: _Object) -> bool:
        known = self._calls.setdefault(index, {})
        function = call.get("function")
        known.update({key: value for key, value in call.items() if key != "function"})
        if type(function) is not dict:
            return False
        if type(function.get("name")) is str:
            known["name"] = function["name"]
        arguments = function.get("arguments")
        if type(arguments) is str:
            self._arguments.setdefault(index, []).append(arguments)
        return True

    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""
        message: _Object = {"role": "assistant", "content": [{"type": "text", "text": "".join(self._texts)}]}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call.get("id"),
                    "type": "function",
                    "function": {
                        "name": call.get("name"),
                        "arguments": "".join(self._arguments.get(index, ())),
                    },
                }
                for index, call in sorted(self._calls.items())
            ]
        return {"finish_reason": None, **self._head, "message": message}


class GrownText(GrowingAnswer):
    """SGLang's and vLLM's ``generate``: every piece has all of the text so far, but where it is set up not to."""

    def __init__(self) -> None:
        super().__init__()
        self.has_ended = True  # neither says of a piece that it is the last one
        self._texts: dict[int, list[str]] = {}
        self._is_list = False
        self._last: _Object = {}

    @staticmethod
    def begins_with(piece: _Object) -> bool:
        """Whether a stream that begins with ``piece`` is such an answer."""
        text = piece.get("text")
        if type(text) is str:
            return type(piece.get("meta_info")) is dict
        return piece.keys() == {"text"} and type(text) is list and all(type(each) is str for each in text)

    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was generated."""
        self._last = piece
        said = piece.get("text")
        self._is_list = type(said) is list
        has_content = False
        for index, text in enumerate(said if type(said) is list else [said]):
            if type(text) is not str or not text:
                continue
            pieces = self._texts.setdefault(index, [])
            if pieces and text.startswith(pieces[-1]):
                has_content |= text != pieces[-1]
                pieces[-1] = text
            else:
                pieces.append(text)
                has_content = True
        return has_content

    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""
        texts = ["".join(self._texts[index]) for index in sorted(self._texts)]
        return {**self._last, "text": texts if self._is_list else "".join(texts)}


class Transcript(GrowingAnswer):
    """OpenAI's transcriptions: pieces of text, then all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._whole: _Object = {}

    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was heard."""
        kind, delta = piece.get("type"), piece.get("delta")
        if kind == "transcript.text.done":
            self.has_ended = True
            self._whole = {key: piece[key] for key in ("text", "usage") if key in piece}
        if kind != "transcript.text.delta" or type(delta) is not str or not delta:
            return False
        self._texts.append(delta)
        return True

    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""
        return {"text": "".join(self._texts), **self._whole}


class GrowingOutputs(GrowingAnswer):
    """Pieces each of which is a whole answer of the Open Inference Protocol: MLServer's ``infer_stream``.

    What they say is rows, one after the other; but texts that come one by one, as events, are one text, cut anywhere.
    """

    def __init__(self, *, are_rows: bool) -> None:
        """Take whether texts are rows as well: those of lines are, a batch of answers."""
        super().__init__()
        self.has_ended = True  # no piece says that it is the last one
        self._are_rows = are_rows
        self._head: _Object = {}
        self._outputs: dict[tuple[str, str], list[Tensor]] = {}
        self._others: list[Json] = []

    @staticmethod
    def begins_with(piece: _Object) -> bool:
        """Whether a stream that begins with ``piece`` is such an answer."""
        outputs = piece.get("outputs")
        return (
            type(outputs) is list
            and bool(outputs)
            and all(oip_tensor(output) is not None for output in outputs)
        )

    def add(self, piece: _Object) -> bool:
        """Take a piece; True if it has a part of what was generated."""
        self._head = self._head or {key: value for key, value in piece.items() if key != "outputs"}
        outputs = piece.get("outputs")
        has_content = False
        for output in outputs if type(outputs) is list else ():
            tensor = oip_tensor(output)
            if tensor is None:
                self._others.append(output)
            else:
                self._outputs.setdefault((tensor.name, tensor.datatype), []).append(tensor)
                has_content |= any(value != "" for value in tensor.data)
        return has_content

    def document(self) -> _Object:
        """Return the answer as the service gives it in one piece."""
        outputs = [_joined(pieces, are_rows=self._are_rows) for pieces in self._outputs.values()]
        return {**self._head, "outputs": [*outputs, *self._others]}


def _joined(pieces: list[Tensor], *, are_rows: bool) -> _Object:
    first = pieces[0]
    data = [value for piece in pieces for value in piece.data]
    shape = list(first.shape)
    if not are_rows and all(piece.kind == "bytes" and len(piece.data) == 1 for piece in pieces):
        data = ["".join(data)]
    elif len(pieces) > 1:
        is_alike = shape and all(piece.shape[1:] == first.shape[1:] for piece in pieces)
        shape = [sum(piece.rows for piece in pieces), *shape[1:]] if is_alike else [len(data)]
    return {"name": first.name, "datatype": first.datatype, "shape": shape, "data": data}
