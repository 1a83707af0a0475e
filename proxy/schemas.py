"""JSON Schema: whether a document has the form that somebody asked for.

A schema comes from the configuration, a document from a model; neither may stall who checks. Patterns run on an engine
without backtracking (Rust's ``regex``): the time grows with the text and no faster. What such an engine cannot do,
looking around and referring back, is refused when the schema is read, and so is a schema that unfolds into more than
:data:`LIMIT` schemas by references that refer twice to what refers twice.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import orjson

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["ALLOWED", "LIMIT", "compile_schema", "fits"]

ALLOWED: Final = "a JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12"

LIMIT: Final = 1_000_000
"""Schemas that one may unfold into. To check a value against so many takes a hundredth of a second."""


def fits(schema: str, document: Any) -> bool:
    """Whether ``document``, as a JSON parser gives it, is valid against ``schema`` (JSON text).

    What RFC 8259 does not know as JSON does not fit: NaN and infinities are no numbers, half of a surrogate pair fits
    no pattern.
    """
    try:
        return compile_schema(schema)(document)
    except ValueError:
        return False


@lru_cache(maxsize=64)
def compile_schema(schema: str) -> Callable[[Any], bool]:
    """Return what tells whether a document is valid. Cached: schemas come from the config.

    Drafts 4, 6, 7, 2019-09 and 2020-12 (7 where ``$schema`` says nothing); a ``$ref`` may only point into the schema
    itself; ``format`` is checked as far as it is known.

    Raises:
        ValueError: it is no such schema, or has a pattern that might try forever.
    """
    # Imported where it is needed: few have a schema.
    import jsonschema_rs

    document = _parsed(schema)
    engine = jsonschema_rs.RegexOptions()
    try:
        check = _validator(document, engine)
    except ValueError as error:
        raise ValueError(f"{ALLOWED} ({_reason(document, error)})") from None
    if _unfolded(document) > LIMIT:
        raise ValueError(f"{ALLOWED} that unfolds into at most {LIMIT} schemas")
    return check.is_valid


def _parsed(schema: str) -> Any:
    try:
        return orjson.loads(schema)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{ALLOWED} ({error})") from None


def _validator(
    document: Any, patterns: "jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions"
) -> "jsonschema_rs.Validator":
    """Return what checks against a schema.

    Raises:
        ValueError: it is none.
    """
    import jsonschema_rs

    if not isinstance(document, dict):
        raise ValueError("expected a mapping")
    says = "$schema" in document
    build = jsonschema_rs.validator_for if says else jsonschema_rs.Draft7Validator
    return build(document, validate_formats=True, pattern_options=patterns, offline=True)


def _reason(document: Any, error: ValueError) -> str:
    """Return in a sentence why a schema is refused."""
    import jsonschema_rs

    said = str(error).partition("\n")[0][:200]
    if isinstance(error, jsonschema_rs.ValidationError) and error.instance_path:
        said = f"/{'/'.join(map(str, error.instance_path))}: {said}"
    if "retriev" in said:
        return f"a $ref may only point into the schema itself: {said}"
    try:
        _validator(document, jsonschema_rs.FancyRegexOptions())
    except ValueError:
        return said
    return f"{said}: patterns have no (?=…), (?!…), (?<=…), (?<!…) or \\1, because such may try forever, and are small"


def _unfolded(document: Any) -> int:
    """Return how many schemas there are at most to check a value against, one that refers to itself counted once."""
    try:
        return _Unfolding(document).weigh(document)
    except RecursionError:  # a thousand references one behind the other
        return LIMIT + 1


class _Unfolding:
    """A schema on its way through its references."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._weights: dict[int, int] = {}
        self._named = {
            prefix + node[key]: node
            for node in _objects(document)
            for key, prefix in _NAMES
            if isinstance(node.get(key), str)
        }

    def weigh(self, node: Any) -> int:
        """Return the objects in ``node``, and in what it refers to as often as it does."""
        if not isinstance(node, dict | list):
            return 0
        known = self._weights.get(id(node))
        if known is None:
            self._weights[id(node)] = 0  # to itself
            each = node.values() if isinstance(node, dict) else node
            known = sum(map(self.weigh, each), start=1)
            if isinstance(node, dict):
                known += sum(self.weigh(self._find(node[key])) for key in _REFERENCES if key in node)
            self._weights[id(node)] = known
        return known

    def _find(self, reference: Any) -> Any:
        """Return the schema that ``reference`` (RFC 3986, of the same document) names."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return self._document if reference == "#" else self._named.get(str(reference))
        node = self._document
        for segment in unquote(reference[2:]).split("/"):
            key = segment.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list):
                node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
            else:
                node = node.get(key) if isinstance(node, dict) else None
        return node


_NAMES: Final = (("$id", ""), ("id", ""), ("$anchor", "#"), ("$dynamicAnchor", "#"))
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in ``node``."""
    rest = [node]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest += node.values()
        elif isinstance(node, list):
            rest += node
