"""What must not be written: values of JSON documents, named tensors and columns, headers, and what detectors find.

Pure. Rules
    * A pointer (RFC 6901) names a value; ``*`` stands for every key or index of one level, ``**`` for any
      number of levels.
    * ``drop`` takes a member out of its object. In a list it leaves null, so that the other elements keep
      their places.
    * ``hash`` replaces the value, whatever its type, by :func:`keyed_hash` of its text (of its JSON if it
      is no text): equal values stay equal, and a user id in a body has the hash that the record's ``unit``
      has.
    * A tensor's name is an output's or input's (Open Inference Protocol), a column's (rows that are objects, columns
      by name, MLflow's ``dataframe_split``), or a member's of the document itself. Of a tensor that is dropped name,
      type and shape stay.
    * Detectors look into every text, keys included, also where it is JSON or base64 of text itself, and at numbers
      as large as those of cards. Each text is looked at alone: what is spread over several is not found. So where
      they look, a text that comes once more token by token (``logprobs``) is left out.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import orjson

from proxy.compare.pointers import parse_pointer
from proxy.privacy.actions import MASK, Treatment, stronger, treat_text, treat_value
from proxy.privacy.detectors import DETECTORS, Detector, find, is_card_number

__all__ = ["Redactor", "Rule", "Target"]

Target: TypeAlias = Literal["json", "tensor", "header", "detect"]


class Rule(NamedTuple):
    """One entry of ``log.redact``: what is meant, and what becomes of it."""

    target: Target
    name: str
    """A pointer, the name of a tensor or header, or a detector."""
    treatment: Treatment


_Pointer: TypeAlias = tuple[tuple[str, ...], Treatment]

_ORDER: Final = ("drop", "hash", "keep_last", "mask")
"""Drops first: what is dropped need not be hashed, and a hash must not hide a pointer below it."""

_ROWS: Final = ("instances", "predictions", "results", "result", "dataframe_records", "data")
"""Members that hold rows: V1 requests and answers, MLflow, lists of embeddings."""
_TENSORS: Final = ("inputs", "outputs")
"""Members that hold tensors (a list of objects with a name), or columns (an object)."""

_TOKENS: Final = "logprobs"
"""Member that holds a generated text once more, token by token (OpenAI's dialect): detectors would see none of it."""

_CHARACTERS: Final = ("UINT8", "INT8")

_BASE64: Final = re.compile(r"(?:data:[^,]{0,128};base64,)?([A-Za-z0-9+/_-]{12,}+=*+)\s*+")
"""What may be base64 of a text (RFC 4648 sections 4 and 5), also in a data URL (RFC 2397)."""

_TEXT_TYPE: Final = "BYTES"
"""Datatype of a tensor whose numbers became texts."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """The compiled ``log.redact`` of a route."""

    key: bytes = field(repr=False)
    pointers: tuple[_Pointer, ...] = ()
    tensors: Mapping[str, Treatment] = field(default_factory=dict)
    headers: Mapping[str, Treatment] = field(default_factory=dict)
    """By lower-case name."""
    detectors: tuple[tuple[Detector, Treatment], ...] = ()

    @classmethod
    def of(cls, key: bytes, rules: Iterable[Rule]) -> "Redactor":
        """Return the redactor of ``rules``. Of two for one header, tensor or detector the stronger counts."""
        pointers: list[_Pointer] = []
        named: dict[Target, dict[str, Treatment]] = {"tensor": {}, "header": {}, "detect": {}}
        for target, name, treatment in rules:
            if target == "json":
                pointers.append((parse_pointer(name), treatment))
                continue
            name = name.lower() if target == "header" else name
            named[target][name] = stronger(treatment, named[target].get(name))
        pointers.sort(key=lambda rule: _ORDER.index(rule[1].action))
        detectors = tuple((each, named["detect"][each]) for each in DETECTORS if each in named["detect"])
        return cls(key, tuple(pointers), named["tensor"], named["header"], detectors)

    @property
    def concerns_bodies(self) -> bool:
        """Whether there is anything to look for in a body."""
        return bool(self.pointers or self.tensors or self.detectors)

    @property
    def concerns_places(self) -> bool:
        """Whether something must stand at a place that a rule names: of a body without places nothing is known."""
        return bool(self.pointers or self.tensors)

    def redact_document(self, document: Any) -> tuple[Any, bool]:
        """Return ``document`` without what must not be written, and whether anything was. The argument is used up.

        Raises:
            RecursionError: the document is nested deeper than Python follows.
            TypeError: a value to be hashed has no JSON form.
        """
        walk = _Walk(self)
        for segments, treatment in self.pointers:
            if not segments:
                document = walk.replaced(document, treatment)
            else:
                walk.follow(document, segments, 0, treatment)
        for name, treatment in self.tensors.items():
            walk.redact_tensor(document, name, treatment)
        if self.detectors:
            walk.scrub_characters(document)
            document = walk.scrub(document)
        return document, walk.has_changed

    def redact_text(self, text: str) -> str:
        """Return ``text`` without what the detectors find in it."""
        for detector, treatment in self.detectors:
            spans = find(detector, text)
            if spans:
                pieces, at = list[str](), 0
                for begin, end in spans:
                    pieces += text[at:begin], treat_text(treatment, self.key, text[begin:end]) or ""
                    at = end
                text = "".join((*pieces, text[at:]))
        return text

    def redact_header(self, name: str, value: str) -> str | None:
        """Return what may be written of a header, None if nothing may.

        Args:
            name: lower-case.
            value: as it was sent.
        """
        treatment = self.headers.get(name)
        if treatment is not None:
            return treat_text(treatment, self.key, value)
        return self.redact_text(value)

    def redact_path(self, path: str) -> str:
        """Return the path of a request without what the detectors find in its segments."""
        if not self.detectors:
            return path
        return "/".join(map(self._redact_segment, path.split("/")))

    def _redact_segment(self, segment: str) -> str:
        plain = unquote(segment)
        shown = self.redact_text(plain)
        return segment if shown == plain else quote(shown, safe="*:@!$&'()+,;=")

    def finds_in(self, text: str) -> bool:
        """Tell whether a detector finds something in ``text``."""
        return any(find(detector, text) for detector, _ in self.detectors)


class _Walk:
    """One document on its way through the rules."""

    __slots__ = ("_card", "_redactor", "has_changed")

    def __init__(self, redactor: Redactor) -> None:
        self.has_changed = False
        self._redactor = redactor
        self._card = dict(redactor.detectors).get("card")

    # Pointers

    def follow(self, value: Any, segments: tuple[str, ...], at: int, treatment: Treatment) -> None:
        """Treat what ``segments[at:]`` names below ``value``."""
        segment, is_last = segments[at], at + 1 == len(segments)
        if segment == "**":
            self._follow_deep(value, segments, at, treatment)
            return
        for step in _steps(value, segment):
            if is_last:
                self._replace(value, step, treatment)
            else:
                self.follow(value[step], segments, at + 1, treatment)

    def _follow_deep(self, value: Any, segments: tuple[str, ...], at: int, treatment: Treatment) -> None:
        if at + 1 == len(segments):  # a closing ** takes everything below
            for step in _steps(value, "*"):
                self._replace(value, step, treatment)
            return
        self.follow(value, segments, at + 1, treatment)
        for step in _steps(value, "*"):
            self._follow_deep(value[step], segments, at, treatment)

    def _replace(self, parent: Any, step: Any, treatment: Treatment) -> None:
        if treatment.action == "drop" and isinstance(parent, dict):
            self.has_changed = True
            del parent[step]
        else:
            parent[step] = self.replaced(parent[step], treatment)

    def replaced(self, value: Any, treatment: Treatment) -> Any:
        """Return what may be written of ``value``."""
        self.has_changed = True
        return treat_value(treatment, self._redactor.key, value)

    # Tensors and columns

    def redact_tensor(self, document: Any, name: str, treatment: Treatment) -> None:
        """Treat every tensor and column called ``name``."""
        self._redact_rows(document, name, treatment)
        if not isinstance(document, dict):
            return
        for member in _TENSORS:
            inner = document.get(member)
            if isinstance(inner, dict):
                self._redact_rows([inner], name, treatment)
            for tensor in inner if isinstance(inner, list) else ():
                if isinstance(tensor, dict) and tensor.get("name") == name and "data" in tensor:
                    self._redact_data(tensor, treatment)
        for member in _ROWS:
            self._redact_rows(document.get(member), name, treatment)
        self._redact_frame(document.get("dataframe_split"), name, treatment)
        self._redact_rows([document], name, treatment)

    def _redact_rows(self, rows: Any, name: str, treatment: Treatment) -> None:
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and name in row:
                self._replace(row, name, treatment)

    def _redact_data(self, tensor: dict[str, Any], treatment: Treatment) -> None:
        self.has_changed = True
        if treatment.action == "drop":
            del tensor["data"]
            return
        tensor["data"] = self._elements(tensor["data"], treatment)
        if treatment.action != "mask":
            tensor["datatype"] = _TEXT_TYPE

    def _elements(self, data: Any, treatment: Treatment) -> Any:
        if isinstance(data, list):
            return [self._elements(each, treatment) for each in data]
        return treat_value(treatment, self._redactor.key, data)

    def _redact_frame(self, frame: Any, name: str, treatment: Treatment) -> None:
        """Treat a column of MLflow's ``{"columns": [...], "data": [row, ...]}``."""
        columns = frame.get("columns") if isinstance(frame, dict) else None
        rows = frame.get("data") if isinstance(frame, dict) else None
        if not isinstance(columns, list) or not isinstance(rows, list):
            return
        for at, column in enumerate(columns):
            for row in rows if column == name else ():
                if isinstance(row, list) and at < len(row):
                    self._replace(row, at, treatment)

    # Detectors

    def scrub(self, value: Any) -> Any:
        """Return ``value`` without what the detectors find in its texts, keys and numbers."""
        if isinstance(value, str):
            return self._scrub_text(value)
        if isinstance(value, dict):
            return self._scrub_members(value)
        if isinstance(value, list):
            # A tensor of a megabyte is one list of numbers, and few numbers are as large as a card's.
            if _NUMBERS.issuperset(map(type, value)) and not any(map(_MAY_BE_CARD, value)):
                return value
            return [self.scrub(each) for each in value]
        if self._card is not None and isinstance(value, int | float) and _is_card(value):
            return self.replaced(value, self._card)
        return value

    def scrub_characters(self, document: Any) -> None:
        """Mask tensors of characters (one byte each) that spell something that the detectors find."""
        for member in _TENSORS:
            tensors = document.get(member) if isinstance(document, dict) else None
            for tensor in tensors if isinstance(tensors, list) else ():
                is_text = isinstance(tensor, dict) and tensor.get("datatype") in _CHARACTERS
                if is_text and self._redactor.finds_in(_spelt(tensor.get("data"))):
                    tensor["data"] = self.replaced(tensor["data"], Treatment("mask"))

    def _scrub_members(self, members: dict[str, Any]) -> dict[str, Any]:
        scrubbed: dict[str, Any] = {}
        for name, value in members.items():
            shown = self._scrub_text(name)
            while shown in scrubbed:
                shown += "*"  # two keys that are masked alike are still two
            if name == _TOKENS and isinstance(value, dict | list):
                self.has_changed, value = True, None
            scrubbed[shown] = self.scrub(value)
        return scrubbed

    def _scrub_text(self, text: str) -> str:
        shown = self._redactor.redact_text(text)
        if shown == text and len(text) > 12:
            shown = self._look_inside(text)
        if shown != text:
            self.has_changed = True
        return shown

    def _look_inside(self, text: str) -> str:
        """Return ``text`` without what is found when it is read as JSON, or as base64 of a text."""
        if text.lstrip()[:1] in ("{", "["):
            try:
                document = orjson.loads(text)
            except ValueError:
                return text
            inner = _Walk(self._redactor)
            scrubbed = inner.scrub(document)
            return orjson.dumps(scrubbed).decode() if inner.has_changed else text
        found = _BASE64.fullmatch(text)
        plain = found and _text_of_base64(found[1])
        return MASK if plain and self._redactor.finds_in(plain) else text


def _is_card(number: float) -> bool:
    return 1e12 <= number < 1e19 and number == int(number) and is_card_number(str(int(number)))


_NUMBERS: Final = frozenset({int, float})
_MAY_BE_CARD: Final = (1e12).__le__


def _spelt(data: Any) -> str:
    """Return the text that the values of a tensor of bytes are the codes of; empty where they are something else."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        data = [each for part in data if isinstance(part, list) for each in part]
    if not isinstance(data, list) or not {int}.issuperset(map(type, data)):
        return ""
    return bytes([value & 255 for value in data]).decode("latin-1")


def _text_of_base64(text: str) -> str | None:
    """Return the text that ``text`` is the base64 of; None if it is of none."""
    standard = text.rstrip("=").translate(_TO_STANDARD)
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


_TO_STANDARD: Final = str.maketrans("-_", "+/")


def _steps(value: Any, segment: str) -> list[str] | list[int]:
    """Return the keys or indexes of ``value`` that ``segment`` names."""
    if isinstance(value, dict):
        return list(value) if segment == "*" else [segment] if segment in value else []
    if isinstance(value, list):
        if segment == "*":
            return list(range(len(value)))
        if segment.isdecimal() and len(segment) < 10 and int(segment) < len(value):
            return [int(segment)]
    return []
