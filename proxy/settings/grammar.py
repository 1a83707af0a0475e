"""How the small grammars of :mod:`proxy.settings.units` become pydantic field types.

A :class:`Grammar` is put beside a field's type, ``Annotated[int, duration("1ms", "1h")]``. It says how the value
is read from the document, how it is written back (reading what was written gives the same value), what JSON
Schema an editor checks it with, and, in words, what is allowed. What is refused becomes one error that says what
was expected.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr
from pydantic_core import PydanticCustomError, core_schema

from proxy.durations import DURATION_PATTERN, format_duration, parse_duration
from proxy.model import Failure
from proxy.settings.document import Expanded, resolve_plain
from proxy.settings.units import (
    RATE_PATTERN,
    SIZE_PATTERN,
    format_percent,
    format_size,
    parse_percent,
    parse_rate,
    parse_signing_secret,
    parse_size,
    parse_webhook_url,
)

__all__ = [
    "EXPECTED",
    "Grammar",
    "choice",
    "did_you_mean",
    "duration",
    "failure",
    "hidden_text",
    "hidden_url",
    "one_or_many",
    "one_or_more",
    "percent",
    "rate",
    "real",
    "secret",
    "signing_secret",
    "size",
    "text",
    "tls_version",
    "whole",
    "whole_or",
    "yes_no_or",
    "yes_or_no",
]

EXPECTED = "expected"
"""Type of the pydantic errors raised here; their context holds the expectation under the same name."""

HIDDEN = "***"


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """How one kind of value is read, written, checked by editors, and described.

    Compared by identity: ``typing`` puts annotations into sets.
    """

    read: Callable[[Any], Any]
    """Raises ValueError whose message is the expectation."""
    write: Callable[[Any], Any]
    """Takes the value; returns what JSON can hold, and of a secret what may be shown."""
    allowed: str
    """The range in words, for the field's description."""
    json_schema: dict[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Tell pydantic to leave reading and writing to this grammar."""
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(self._serialize),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON Schema of the written form."""
        return {**self.json_schema, "x-allowed": self.allowed}

    def _validate(self, value: Any) -> Any:
        try:
            return self.read(value)
        except ValueError as error:
            raise PydanticCustomError(EXPECTED, "expected {expected}", {EXPECTED: str(error)}) from None

    def _serialize(self, value: Any) -> Any:
        return None if value is None else self.write(value)


def did_you_mean(word: str, known: list[str]) -> str:
    """Return ``' (did you mean x?)'`` for the known word nearest to ``word``, or nothing."""
    near = get_close_matches(word[:64], known[:256], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def text(
    parse: Callable[[str], Any],
    allowed: str,
    *,
    pattern: str | None = None,
    write: Callable[[Any], Any] = str,
    longest: int = 1024,
) -> Grammar:
    """Return the grammar of a text that ``parse`` reads and ``write`` writes.

    Args:
        parse: raises ValueError with the expectation.
        allowed: the range in words.
        pattern: regular expression of the whole text, for editors.
        write: inverse of ``parse``.
        longest: characters.
    """

    def read(value: Any) -> Any:
        plain = _text(value, allowed)
        if len(plain) > longest:
            raise ValueError(f"at most {longest} characters")
        return parse(plain)

    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": longest}
    if pattern is not None:
        schema["pattern"] = f"^(?:{pattern})$"
    return Grammar(read, lambda value: write(value), allowed, schema)


def duration(low: str, high: str) -> Grammar:
    """Return the grammar of a duration in nanoseconds between two durations, both included."""
    return _ranged(parse_duration, format_duration, "a duration such as 5s", DURATION_PATTERN, low, high)


def size(low: str, high: str) -> Grammar:
    """Return the grammar of a size in bytes between two sizes, both included."""
    return _ranged(parse_size, format_size, "a size such as 64KiB", SIZE_PATTERN, low, high)


def _ranged(
    parse: Callable[[str], int], write: Callable[[int], str], kind: str, pattern: str, low: str, high: str
) -> Grammar:
    lowest, highest = parse(low), parse(high)

    def read(value: Any) -> int:
        # A bare number is a text of its digits here: the grammar's own message says how to write it.
        number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        parsed = parse(str(value) if number else _text(value, kind))
        if not lowest <= parsed <= highest:
            raise ValueError(f"{low} to {high}")
        return parsed

    schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return Grammar(read, lambda value: write(value), f"{low} to {high}", schema)


def whole(low: int, high: int) -> Grammar:
    """Return the grammar of a whole number between two numbers, both included."""

    def read(value: Any) -> int:
        number = _number(value)
        if number is None or number != int(number) or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(number)

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Grammar(read, lambda value: value, f"{low} to {high}", schema)


def whole_or(word: str, low: int, high: int) -> Grammar:
    """Return the grammar of a whole number between two numbers, or one word."""
    number = whole(low, high)

    def read(value: Any) -> int | str:
        try:
            return word if isinstance(value, str) and value == word else int(number.read(value))
        except ValueError as error:
            raise ValueError(f"{error}, or {word}") from None

    schema = {"anyOf": [number.json_schema, {"const": word}]}
    return Grammar(read, number.write, f"{number.allowed}, or {word}", schema)


def real(low: float, high: float) -> Grammar:
    """Return the grammar of a finite number between two numbers, both included."""

    def read(value: Any) -> float:
        number = _number(value)
        if number is None or not low <= number <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(number)

    schema = {"type": "number", "minimum": low, "maximum": high}
    return Grammar(read, lambda value: value, f"{low:g} to {high:g}", schema)


def percent() -> Grammar:
    """Return the grammar of an exact percent."""

    def read(value: Any) -> Decimal:
        number = _number(value)
        return parse_percent("" if number is None else str(number))

    schema = {"type": "number", "minimum": 0, "maximum": 100}
    return Grammar(
        read, lambda value: format_percent(value), "0 to 100 percent, at most six decimals", schema
    )


def rate(low: int, high: int, *, above: bool = False, because: str = "") -> Grammar:
    """Return the grammar of an exact percent that may have its sign, ``1%`` or ``1``; written as a number.

    Args:
        low: smallest; with ``above`` the first that is too small.
        high: largest.
        above: whether ``low`` itself is too small.
        because: what is told who is that low.
    """

    def read(value: Any) -> Decimal:
        number = _number(value)
        # A number in quotes is text, as everywhere in the file; one with its sign is a percent.
        signed = isinstance(value, str) and value.endswith("%")
        plain = str(value) if signed else "" if number is None else str(number)
        return parse_rate(plain, low, high, above=above, because=because)

    lowest = "exclusiveMinimum" if above else "minimum"
    number_schema = {"type": "number", lowest: low, "maximum": high}
    schema = {"anyOf": [number_schema, {"type": "string", "pattern": f"^(?:{RATE_PATTERN})$"}]}
    allowed = f"{'above ' if above else ''}{low} to {high} percent, at most six decimals, such as 2% or 0.5"
    return Grammar(read, lambda value: format_percent(value), allowed, schema)


def choice(kind: Any) -> Grammar:
    """Return the grammar of the words of a ``Literal``, or of the values of a string enumeration."""
    words: dict[str, Any] = {str(word): word for word in get_args(kind) or kind}
    known = list(words)
    allowed = f"one of {', '.join(known)}"

    def read(value: Any) -> Any:
        plain = _text(value, allowed)
        if plain not in words:
            raise ValueError(f"{allowed}{did_you_mean(plain, known)}")
        return words[plain]

    return Grammar(read, lambda value: str(value), allowed, {"enum": known})


def failure() -> Grammar:
    """Return the grammar of a way to fail: a word of :class:`~proxy.model.Failure`, or a status code of an error."""
    words = [str(word) for word in Failure]
    allowed = f"one of {', '.join(words)}, or a status code from 400 to 599"

    def read(value: Any) -> Failure | int:
        number = _number(value)
        if number is not None and number == int(number) and 400 <= number <= 599:
            return int(number)
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{allowed}{did_you_mean(value, words) if isinstance(value, str) else ''}")
        return Failure(str(value))

    def write(value: Failure | int) -> str | int:
        return str(value) if isinstance(value, Failure) else value

    schema = {"anyOf": [{"enum": words}, {"type": "integer", "minimum": 400, "maximum": 599}]}
    return Grammar(read, write, allowed, schema)


def yes_or_no() -> Grammar:
    """Return the grammar of true and false."""
    allowed = "true or false"

    def read(value: Any) -> bool:
        plain = resolve_plain(value) if isinstance(value, Expanded) else value
        if not isinstance(plain, bool):
            raise ValueError(allowed)
        return plain

    return Grammar(read, lambda value: value, allowed, {"type": "boolean"})


def yes_no_or(word: str) -> Grammar:
    """Return the grammar of true, false, or one word."""
    plain = yes_or_no()

    def read(value: Any) -> bool | str:
        try:
            return word if isinstance(value, str) and value == word else bool(plain.read(value))
        except ValueError as error:
            raise ValueError(f"{error}, or {word}") from None

    schema = {"anyOf": [plain.json_schema, {"const": word}]}
    return Grammar(read, lambda value: value, f"{plain.allowed}, or {word}", schema)


def tls_version() -> Grammar:
    """Return the grammar of the lowest version of TLS: a number or the same in quotes."""
    versions = ("1.2", "1.3")
    allowed = "1.2 or 1.3: what is older is broken (RFC 8996)"

    def read(value: Any) -> str:
        plain = str(value) if isinstance(value, (str, Decimal, float)) else ""
        if plain not in versions:
            raise ValueError(allowed)
        return versions[versions.index(plain)]

    schema: dict[str, Any] = {"anyOf": [{"enum": list(versions)}, {"enum": [float(v) for v in versions]}]}
    return Grammar(read, lambda value: value, allowed, schema)


def secret(lowest: int, longest: int = 4096) -> Grammar:
    """Return the grammar of a secret of visible ASCII characters, which is never shown again."""
    allowed = f"{lowest} to {longest} visible ASCII characters"

    def read(value: Any) -> SecretStr:
        if not isinstance(value, str):
            raise ValueError(f"text: {allowed}, in quotes or, better, as ${{VARIABLE}}")
        if not lowest <= len(value) <= longest or not all("!" <= c <= "~" for c in value):
            raise ValueError(allowed)
        return SecretStr(str(value))

    schema = {"type": "string", "minLength": lowest, "maxLength": longest, "writeOnly": True}
    return Grammar(read, lambda _: HIDDEN, allowed, schema)


def hidden_url() -> Grammar:
    """Return the grammar of a URL of which only scheme, host and port are ever shown again."""

    def read(value: Any) -> SecretStr:
        plain = _text(value, "http[s]://host[:port][/path][?query]")
        if len(plain) > 2048:
            raise ValueError("at most 2048 characters")
        return SecretStr(parse_webhook_url(plain))

    def write(value: SecretStr) -> str:
        return f"{'/'.join(value.get_secret_value().split('/')[:3])}/{HIDDEN}"

    schema = {"type": "string", "minLength": 1, "maxLength": 2048, "pattern": r"^https?://[^@#\s]+$"}
    return Grammar(read, write, "http[s]://host[:port][/path][?query]", schema)


def hidden_text(longest: int = 4096) -> Grammar:
    """Return the grammar of a text of visible ASCII characters, with blanks inside, which is never shown again."""
    allowed = f"1 to {longest} visible ASCII characters, with blanks between them"

    def read(value: Any) -> SecretStr:
        plain = _text(value, allowed)
        if not (
            1 <= len(plain) <= longest and plain.strip(" ") == plain and all(" " <= c <= "~" for c in plain)
        ):
            raise ValueError(allowed)
        return SecretStr(plain)

    schema = {"type": "string", "minLength": 1, "maxLength": longest, "writeOnly": True}
    return Grammar(read, lambda _: HIDDEN, allowed, schema)


def signing_secret() -> Grammar:
    """Return the grammar of a secret that webhooks are signed with, which is never shown again."""
    allowed = "whsec_ and a key of 24 to 64 bytes in base64, or 24 to 4096 visible ASCII characters"

    def read(value: Any) -> SecretStr:
        if not isinstance(value, str):
            raise ValueError(f"text: {allowed}, in quotes or, better, as ${{VARIABLE}}")
        return SecretStr(parse_signing_secret(str(value)))

    schema = {"type": "string", "minLength": 24, "maxLength": 4096, "writeOnly": True}
    return Grammar(read, lambda _: HIDDEN, allowed, schema)


def one_or_more(item: Grammar, most: int) -> Grammar:
    """Return the grammar of one value or a list of them; read as a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        items = value if isinstance(value, (list, tuple)) else [value]
        if len(items) > most:
            raise ValueError(f"at most {most} of them")
        return tuple(item.read(each) for each in items)

    schema = {"anyOf": [item.json_schema, {"type": "array", "items": item.json_schema, "maxItems": most}]}
    return Grammar(read, lambda value: [item.write(each) for each in value], item.allowed, schema)


def one_or_many(item: Grammar, most: int) -> Grammar:
    """Return the grammar of one value or a list of them; one is read and written as itself, also from a list."""

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return item.read(value)
        if not 1 <= len(value) <= most:
            raise ValueError(f"{item.allowed}, or a list of 1 to {most} of them")
        items = tuple(item.read(each) for each in value)
        return items if len(items) > 1 else items[0]

    def write(value: Any) -> Any:
        many = isinstance(value, tuple)
        return [item.write(each) for each in value] if many else item.write(value)

    listed = {"type": "array", "items": item.json_schema, "minItems": 1, "maxItems": most}
    return Grammar(read, write, item.allowed, {"anyOf": [item.json_schema, listed]})


def _text(value: Any, expected: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(
            expected if isinstance(value, str | None) else f"text: {expected} (a number in quotes)"
        )
    return str(value)


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, Expanded):
        value = resolve_plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        # JSON knows one kind of number; its shortest text is what was written.
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return value if isinstance(value, int) else None
