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
      by name, MLflow's ``dataframe_split``, Seldon's ``names``), or a member's of the document itself. Of a tensor
      that is dropped name, type and shape stay.
    * Detectors look into every text, keys included, also where it is JSON itself or has another spelling
      (:mod:`proxy.privacy.disguises`), at numbers as large as those of cards, and at lists of bytes. Each text is
      looked at alone, but for the parts of one message: what is spread over several is not found. So where they look, a
      text that comes once more token by token (``logprobs``) is left out.
    * What a generating model said may stand there a second time, as tokens or their numbers. Where something of it was
      redacted, by whatever rule, these lists are left out.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import orjson

from proxy.compare.completions import read_completion
from proxy.compare.pointers import Patterns, advance, any_element, parse_pointer, start_of
from proxy.privacy.actions import MASK, Treatment, stronger, treat_text, treat_value
from proxy.privacy.detectors import DETECTORS, Detector, find, is_card_number, is_named_secret
from proxy.privacy.disguises import NO_LETTERS, readings

__all__ = ["RedactedBody", "Redactor", "Rule", "Target"]

Target: TypeAlias = Literal["json", "tensor", "header", "detect"]


class Rule(NamedTuple):
    """One entry of ``log.redact``: what is meant, and what becomes of it."""

    target: Target
    name: str
    """A pointer, the name of a tensor or header, or a detector."""
    treatment: Treatment


class RedactedBody(NamedTuple):
    """A body as it may be written."""

    body: bytes
    is_changed: bool
    """Whether something is not there any more. If not, it says what the original says, in other words perhaps."""
    header_length: int | None = None
    """Bytes of JSON before binary tensors, where there are some."""
    is_assembled: bool = False
    """``body`` is as JSON the answer in one piece that the pieces of a stream add up to."""


_Pointer: TypeAlias = tuple[tuple[str, ...], Treatment]

_ORDER: Final = ("drop", "hash", "keep_last", "mask")
"""Drops first: what is dropped need not be hashed, and a hash must not hide a pointer below it."""

_ROWS: Final = ("instances", "predictions", "results", "result", "dataframe_records", "data")
"""Members that hold rows: V1 requests and answers, MLflow, lists of embeddings."""
_TENSORS: Final = ("inputs", "outputs")
"""Members that hold tensors (a list of objects with a name), or columns (an object)."""

_TOKENS: Final = frozenset({"completion_probabilities", "prefill", "top_tokens"})
"""Members that hold a text once more, token by token, beside those with ``logprobs`` in their name (OpenAI's dialect,
vLLM, SGLang, Gemini; llama.cpp, text-generation-inference): detectors would see none of it."""

_TOKEN_NUMBERS: Final = frozenset(
    {"context", "input_ids", "output_ids", "prompt_token_ids", "token_ids", "tokens"}
)
"""Members that hold tokens, most as numbers (Ollama, vLLM, llama.cpp): who has the model's vocabulary can read them.
Others call their features so."""

_PARTS: Final = ("text", "token")
"""Members of the parts that a message is made of: a reader sees them as one text."""

_CHARACTERS: Final = ("UINT8", "INT8")

_SHORTEST: Final = 12
"""Longest text that is taken as it is: what a shorter one hides is no address that anybody has."""

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
        is_answer = read_completion(document) is not None
        for segments, treatment in self.pointers:
            if not segments:
                document = walk.replaced(document, treatment)
            else:
                walk.follow(document, start_of(segments), treatment)
        for name, treatment in self.tensors.items():
            walk.redact_tensor(document, name, treatment)
        if self.detectors:
            walk.scrub_characters(document)
            document = walk.scrub(document)
        if is_answer and walk.has_changed:
            _drop_tokens(document)
        return document, walk.has_changed

    def names_nothing_in(self, document: Any) -> "Redactor":
        """Return the redactor of those rules for places that name nothing in ``document``."""
        pointers = tuple(rule for rule in self.pointers if not _is_there(document, rule[0]))
        tensors = {}
        for name, treatment in self.tensors.items():
            copy = orjson.loads(orjson.dumps(document))
            if not Redactor(self.key, tensors={name: treatment}).redact_document(copy)[1]:
                tensors[name] = treatment
        return Redactor(self.key, pointers, tensors)

    def redact_text(self, text: str) -> str:
        """Return ``text`` without what the detectors find in it; a mask, where they find it in another spelling."""
        shown = self.redact_letters(text)
        return MASK if self.detectors and self.finds_disguised_in(shown) else shown

    def redact_letters(self, text: str) -> str:
        """Return ``text`` without what the detectors find in its letters as they stand there."""
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
        """Return the path of a request without what the detectors find in its segments, or in several together."""
        if not self.detectors:
            return path
        segments, plain = path.split("/"), unquote(path)
        if self._findings(plain) > sum(self._findings(unquote(segment)) for segment in segments):
            return _quoted(self.redact_text(plain))
        return "/".join(map(self._redact_segment, segments))

    def _redact_segment(self, segment: str) -> str:
        plain = unquote(segment)
        shown = self.redact_text(plain)
        return segment if shown == plain else _quoted(shown, "")

    def is_shared(self, parts: Sequence[str], shown: Sequence[str]) -> bool:
        """Tell whether something is found of which two texts that a reader sees as one have a part each.

        Args:
            parts: texts that surely follow one another.
            shown: texts that may, without what was found in each.
        """
        ends = list(accumulate(map(len, parts)))[:-1]
        spans = (span for detector, _ in self.detectors for span in find(detector, "".join(parts)))
        if any(end < behind for begin, behind in spans for end in ends[bisect(ends, begin) :][:1]):
            return True
        whole = "".join(shown)
        return self.finds_in(whole) or self.finds_disguised_in(whole)

    def finds_disguised_in(self, text: str) -> bool:
        """Tell whether a detector finds something in what ``text`` is another spelling of."""
        return len(text) > _SHORTEST and any(map(self.finds_in, readings(text)))

    def _findings(self, text: str) -> int:
        return sum(len(find(detector, text)) for detector, _ in self.detectors)

    def finds_in(self, text: str) -> bool:
        """Tell whether a detector finds something in ``text``."""
        return any(find(detector, text) for detector, _ in self.detectors)


class _Walk:
    """One document on its way through the rules."""

    __slots__ = ("_card", "_redactor", "_token", "has_changed")

    def __init__(self, redactor: Redactor) -> None:
        self.has_changed = False
        self._redactor = redactor
        detectors = dict(redactor.detectors)
        self._card, self._token = detectors.get("card"), detectors.get("token")

    # Pointers

    def follow(self, value: Any, alive: Patterns, treatment: Treatment) -> None:
        """Treat what the patterns that are ``alive`` at ``value`` name below it; each place once, whatever they are."""
        for step in _wanted(value, alive):
            beyond = advance(alive, str(step))
            if beyond is None:
                self._replace(value, step, treatment)
            elif beyond:
                self.follow(value[step], beyond, treatment)

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
        for frame in (document.get("dataframe_split"), document, document.get("data")):
            self._redact_frame(frame, name, treatment)
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
        """Treat a column of ``{"columns": [...], "data": [row, ...]}`` (pandas, MLflow), or of Seldon's ``names`` and
        ``ndarray``."""
        if not isinstance(frame, dict):
            return
        columns, rows = frame.get("columns"), frame.get("data")
        if "names" in frame:
            columns, rows = frame["names"], frame.get("ndarray")
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
                return self._scrub_codes(value)
            if len(value) > _SHORTEST and {str} == set(map(type, value)) and max(map(len, value)) == 1:
                return self._scrub_letters(value)
            return self._scrub_parts(value, [self.scrub(each) for each in value])
        if self._card is not None and isinstance(value, int | float) and _is_card(value):
            return self.replaced(value, self._card)
        return value

    def _scrub_codes(self, value: list[Any]) -> list[Any]:
        """Mask a list of the bytes or letters of a text in which something is found."""
        text = _text_of_codes(value)
        if text is None or not self._redactor.finds_in(text):
            return value
        self.has_changed = True
        return [0] * len(value)

    def _scrub_letters(self, value: list[str]) -> list[str]:
        """Mask a text that comes letter by letter if something is found in it."""
        if not self._redactor.finds_in("".join(value)):
            return value
        self.has_changed = True
        return [MASK] * len(value)

    def _scrub_tokens(self, value: list[str]) -> list[str] | None:
        """Leave out tokens that spell something together."""
        if not self._redactor.is_shared(value, list(map(self._redactor.redact_text, value))):
            return value
        self.has_changed = True
        return None

    def _scrub_parts(self, parts: list[Any], shown: list[Any]) -> list[Any]:
        """Mask the texts of the parts of a message if they share what is found; ``shown`` are they without the rest."""
        for name in _PARTS:
            places = [
                at for at, each in enumerate(parts) if isinstance(each, dict) and type(each.get(name)) is str
            ]
            if len(places) > 1 and self._redactor.is_shared(
                [parts[at][name] for at in places if type(parts[at].get("type")) is str],
                [shown[at][name] for at in places],
            ):
                self.has_changed = True
                for at in places:
                    shown[at][name] = MASK
        return shown

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
            if name in _TOKEN_NUMBERS and isinstance(value, list) and set(map(type, value)) == {str}:
                value = self._scrub_tokens(value)
            if self._token is not None and type(value) is str and is_named_secret(name, value):
                value = self.replaced(value, self._token)
            if _is_tokens(name) and isinstance(value, dict | list):
                self.has_changed, value = True, None
            scrubbed[shown] = self.scrub(value)
        return scrubbed

    def _scrub_text(self, text: str) -> str:
        shown = self._redactor.redact_letters(text)
        inside = self._look_inside(shown) if shown.lstrip()[:1] in ("{", "[") else None
        if inside is not None:
            shown = inside
        elif self._redactor.finds_disguised_in(shown):
            shown = MASK
        if shown != text:
            self.has_changed = True
        return shown

    def _look_inside(self, text: str) -> str | None:
        """Return ``text`` without what is found when it is read as JSON; None if it is none."""
        try:
            document = orjson.loads(text)
        except ValueError:
            return None
        inner = _Walk(self._redactor)
        scrubbed = inner.scrub(document)
        return orjson.dumps(scrubbed).decode() if inner.has_changed else text


def _is_card(number: float) -> bool:
    return 1e12 <= number < 1e19 and number == int(number) and is_card_number(str(int(number)))


def _quoted(text: str, also: str = "/") -> str:
    """Return a path, or without ``also`` a segment of one, percent-encoded where it must be (RFC 3986 section 3.3)."""
    return quote(text, safe=f"*:@!$&'()+,;={also}")


_NUMBERS: Final = frozenset({int, float})
_MAY_BE_CARD: Final = (1e12).__le__


def _text_of_codes(codes: list[int | float]) -> str | None:
    """Return the text that numbers are the bytes of, signed or not, or the letters; None: they are those of none."""
    if len(codes) < _SHORTEST or any(code != code // 1 for code in codes[:_SHORTEST]):
        return None
    least, most = min(codes), max(codes)
    if not (least >= -128 and 64 <= most < 0x110000) or any(code != code // 1 for code in codes):
        return None
    if most > 255:
        return None if least < 0 else "".join(chr(int(code)) for code in codes)
    data = bytes(int(code) & 255 for code in codes).rstrip(b"\0")
    # A picture has darker places.
    return data.decode(errors="replace") if min(data) >= 9 and NO_LETTERS.isdisjoint(data) else None


def _spelt(data: Any) -> str:
    """Return the text that the values of a tensor of bytes are the codes of; empty where they are something else."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        data = [each for part in data if isinstance(part, list) for each in part]
    if not isinstance(data, list) or not {int}.issuperset(map(type, data)):
        return ""
    return bytes([value & 255 for value in data]).decode("latin-1")


def _is_tokens(name: str) -> bool:
    return name in _TOKENS or "logprobs" in name


def _drop_tokens(value: Any) -> None:
    """Put null in place of every list of tokens in ``value``."""
    if isinstance(value, list):
        for each in value:
            _drop_tokens(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if (name in _TOKEN_NUMBERS or _is_tokens(name)) and isinstance(each, dict | list):
                value[name] = None
            else:
                _drop_tokens(each)


def _is_there(value: Any, segments: tuple[str, ...]) -> bool:
    """Tell whether a pointer names anything in ``value``."""
    return not segments or _names(value, start_of(segments))


def _names(value: Any, alive: Patterns) -> bool:
    for step in _wanted(value, alive):
        beyond = advance(alive, str(step))
        if beyond is None or (beyond and _names(value[step], beyond)):
            return True
    return False


def _wanted(value: Any, alive: Patterns) -> Sequence[str | int]:
    """Return the keys or indexes of ``value`` that one of the patterns may step into."""
    heads = {pattern[0] for pattern in alive}
    if heads & {"*", "**"}:
        if isinstance(value, list) and not any_element(
            alive
        ):  # a tensor of a megabyte: nothing in it is meant
            return [at for at, each in enumerate(value) if isinstance(each, dict | list)]
        return _steps(value, "*")
    return [step for head in heads for step in _steps(value, head)]


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
