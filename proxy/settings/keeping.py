"""Which exchanges are kept whatever the sample: the rules of ``log.keep``, and how they are written."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.durations import format_duration
from proxy.settings import grammar
from proxy.settings.grammar import Grammar, did_you_mean

__all__ = ["Keep", "keep_rule", "parse_expression"]

_WORDS: Final = ("errors", "disagreement")
_KEYS: Final = ("slow", "when")
_LONGEST: Final = 1024
"""Characters of an expression."""

_ALLOWED: Final = "errors, disagreement, {slow: DURATION}, or {when: JMESPATH}"


@dataclass(frozen=True, slots=True)
class Keep:
    """One rule: what it names is kept."""

    kind: str
    """``errors``, ``disagreement``, ``slow`` or ``when``."""
    slow: int = 0
    """Nanoseconds; of ``slow``."""
    when: str = ""
    """Of ``when``."""


def parse_expression(text: str) -> str:
    """Return a JMESPath expression (jmespath.org) that can be evaluated.

    Raises:
        ValueError: it cannot; the message says at which column, counted from 1.
    """
    from jmespath import compile as compile_expression
    from jmespath.exceptions import JMESPathError, ParseError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PendingDeprecationWarning)
            tree = compile_expression(text).parsed
    except PendingDeprecationWarning:
        raise ValueError("JSON between backticks, or a text between single quotes: 'like this'") from None
    except ParseError as error:
        place = f"at its end, column {len(text)}" if error.lex_position >= len(text) else ""
        place = place or f"at column {error.lex_position + 1}, {text[error.lex_position :][:20]!r}"
        raise ValueError(f"a JMESPath expression; this one makes no sense {place}") from None
    except (JMESPathError, RecursionError):
        raise ValueError("a JMESPath expression of some, but not that many, parts") from None
    for problem in _wrong_calls(tree, text):
        raise ValueError(problem)
    return text


def _wrong_calls(node: dict[str, Any], text: str) -> Iterator[str]:
    """Yield what is wrong with the functions of a syntax tree: the parser lets any name and number pass."""
    from jmespath.functions import Functions

    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        column = text.find(f"{name}(") + 1
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            names = sorted(Functions.FUNCTION_TABLE)
            yield f"a function of JMESPath at column {column}{did_you_mean(name, names)}: {', '.join(names)}"
        else:
            wanted = len(known["signature"])
            is_open = bool(wanted and known["signature"][-1].get("variadic"))
            if given < wanted or (given > wanted and not is_open):
                least = "at least " if is_open else ""
                yield f"{least}{wanted} arguments of {name} at column {column}"
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _wrong_calls(child, text)


def keep_rule() -> Grammar:
    """Return the grammar of one rule of ``keep``."""
    duration = grammar.duration("0s", "168h")

    def read(value: Any) -> Keep:
        if isinstance(value, str):
            plain = str(value)
            if plain in _WORDS:
                return Keep(plain)
            raise ValueError(f"{_ALLOWED}{did_you_mean(plain, [*_WORDS, *_KEYS])}")
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError(_ALLOWED)
        ((key, inner),) = value.items()
        if key == "slow":
            return Keep("slow", slow=duration.read(inner))
        if key != "when":
            raise ValueError(f"{_ALLOWED}{did_you_mean(str(key), list(_KEYS))}")
        if not isinstance(inner, str) or not 1 <= len(inner) <= _LONGEST:
            raise ValueError(f"a JMESPath expression of 1 to {_LONGEST} characters, in quotes")
        return Keep("when", when=parse_expression(str(inner)))

    def write(value: Keep) -> Any:
        if value.kind == "slow":
            return {"slow": format_duration(value.slow)}
        return {"when": value.when} if value.kind == "when" else value.kind

    alone = {"type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
    when = {"type": "string", "minLength": 1, "maxLength": _LONGEST}
    schema = {
        "anyOf": [
            {"enum": list(_WORDS)},
            {**alone, "properties": {"slow": duration.json_schema, "when": when}},
        ]
    }
    return Grammar(read, write, _ALLOWED, schema)
