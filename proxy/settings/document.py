"""YAML text → plain values, and the place of every one of them.

Rules
    * Scalars mean what YAML 1.2 says (core schema), not 1.1: ``no`` and ``1:30`` are text, ``1e-5`` is a number.
      Numbers with a point are :class:`decimal.Decimal`: a weight of 0.1 stays 0.1.
    * Anchors, aliases and merge keys (``<<``) work. Size, depth and the number of values *after* following
      aliases are bounded, so that a small file cannot become a large one.
    * A key that stands twice in a mapping is a problem, not a choice of ours.
    * ``${NAME}`` and ``${NAME:-default}`` in the text of a value (never of a key) are replaced by what the
      environment holds, ``$$`` by ``$``. That is text, never YAML: it cannot add structure. A value that is then
      empty is null, and one that is then a number may stand for it, in quotes or not: inside ``{…}`` and ``[…]``
      YAML wants the quotes.
    * Nothing here remembers or shows what a variable holds. A problem quotes the file as it was written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from proxy.errors import Problem

__all__ = [
    "MAX_DEPTH",
    "MAX_TEXT",
    "MAX_VALUES",
    "Document",
    "Expanded",
    "Path",
    "Place",
    "Source",
    "path_text",
    "read_document",
    "resolve_plain",
]

MAX_TEXT = 1 << 20
"""Characters of a file. A configuration with a thousand routes has some 300,000."""
MAX_VALUES = 100_000
"""Keys and values of a document after following aliases."""
MAX_DEPTH = 32
"""Nesting of mappings and lists. The settings need eight."""
_MAX_SCALAR = 64 << 10
"""Characters of one value after expansion."""

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the document."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?")

# A default without an end stops at the next brace: searched to the end of the text, many would take quadratic time.
_VARIABLE = re.compile(
    r"\$(?:(?P<escape>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|(?P<bad>\{))"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 60
_MOST_MISSING = 20
"""Problems that are told of one value; further variables are missing for the same reason."""


class Expanded(str):
    """A value that is a number or a boolean only because a variable holds one.

    Where text is wanted it is text (a token of digits stays a token), where a number is wanted a number.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands and how it was written."""

    line: int
    column: int
    key_line: int
    key_column: int
    written: str
    """What a problem says was found; holds no value of a variable."""


@dataclass(frozen=True, slots=True)
class Source:
    """The places of a document's values, to say where a problem is."""

    name: str = "modelproxy.yaml"
    places: Mapping[Path, Place] = field(default_factory=dict)

    def problem(
        self, path: Path, expected: str, found: str | None = None, *, at_key: bool = False
    ) -> Problem:
        """Return the problem at ``path``, or at the nearest value around it.

        Args:
            path: where; it need not exist.
            expected: what would be right.
            found: what is there; by default the value as it was written.
            at_key: point to the key, not to its value.
        """
        place = next(
            (self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places), None
        )
        line, column = (0, 0) if place is None else (place.line, place.column)
        if place is not None and at_key and path in self.places:
            line, column = place.key_line, place.key_column
        return Problem(self.name, line, column, path_text(path), found or self.written(path), expected)

    def written(self, path: Path) -> str:
        """Return how the value at ``path`` stands in the file; ``nothing`` when it does not."""
        place = self.places.get(path)
        return "nothing" if place is None else place.written


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, before anybody asks whether it makes sense."""

    value: Any
    """Mappings, lists, text, :class:`Expanded`, integers, decimals, booleans, None."""
    source: Source
    problems: tuple[Problem, ...]
    """Syntax errors (``value`` is None then), duplicate keys, missing variables, broken bounds."""


def path_text(path: Path) -> str:
    """Return ``routes[0].variants[1].weight`` for ``("routes", 0, "variants", 1, "weight")``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            plain = step if re.fullmatch(r"[\w.-]{1,100}", step, re.ASCII) else _quoted(step)
            text += f".{plain}" if text else plain
    return text


def read_document(text: str, *, environ: Mapping[str, str], source: str) -> Document:
    """Return what ``text`` says and where. Never raises for what stands in the text.

    Args:
        text: YAML, one document.
        environ: the variables for ``${NAME}``.
        source: name of the text in problems.
    """

    def refused(found: str, expected: str, line: int = 0, column: int = 0) -> Document:
        return Document(None, Source(source), (Problem(source, line, column, "", found, expected),))

    if len(text) > MAX_TEXT:
        return refused(f"{len(text)} characters", f"at most {MAX_TEXT}")
    try:
        root = _compose(text)
    except _BoundError as error:
        return refused(*error.args)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        return refused(_symptom(error), _hint(error, text), *place)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return refused(f"the character U+{ord(text[error.position]):04X}", "printable text in UTF-8", line, 1)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        return refused(f"text that is not YAML ({_clean(str(error))})", "a YAML document")
    if root is None:
        return refused("an empty document", "a mapping with models and routes")
    reading = _Reading(source, environ)
    try:
        value = reading.convert(root, (), 0, None)
    except _BoundError as error:
        return refused(*error.args)
    return Document(value, Source(source, reading.places), tuple(reading.problems))


def resolve_plain(text: str) -> Any:
    """Return what unquoted ``text`` means: None, a boolean, an integer, a decimal, or the text itself."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return Decimal(text)
    return text


class _BoundError(Exception):
    """The document breaks a bound; args: found, expected, line, column."""


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's own reading up to the node graph, with a bound on its recursion."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _BoundError("deeper nesting", f"at most {MAX_DEPTH} levels", mark.line + 1, mark.column + 1)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(rf"(?:{_NULL.pattern})$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(rf"(?:{_BOOL.pattern})$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(rf"(?:{_INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(rf"(?:{_FLOAT.pattern})$"), list("-+.0123456789"))


def _compose(text: str) -> Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        # The parser keeps references to its own methods: a cycle that only this call breaks.
        loader.dispose()


class _Reading:
    """One walk from nodes to values. Aliases are followed, so one node may be converted many times."""

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        self.source = source
        self.environ = environ
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def convert(self, node: Node, path: Path, depth: int, key: Node | None) -> Any:
        self._count(node, depth)
        mark, key_mark = node.start_mark, (key or node).start_mark
        self.places[path] = Place(
            mark.line + 1, mark.column + 1, key_mark.line + 1, key_mark.column + 1, _written(node)
        )
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.convert(item, (*path, i), depth + 1, None) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._problem(node, path, f"the tag {_quoted(node.tag)}", "a plain mapping or list")
        return None

    def _count(self, node: Node, depth: int) -> None:
        self.count += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if self.count > MAX_VALUES:
            raise _BoundError("more values", f"at most {MAX_VALUES} after following aliases", line, column)
        if depth > MAX_DEPTH:
            raise _BoundError(
                "deeper nesting", f"at most {MAX_DEPTH} levels after following aliases", line, column
            )

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        pairs = self._pairs(node, path, depth)
        return {
            name: self.convert(item, (*path, name), depth + 1, key) for name, (key, item) in pairs.items()
        }

    def _pairs(self, node: MappingNode, path: Path, depth: int) -> dict[str, tuple[ScalarNode, Node]]:
        """Return the keys of a mapping; those that it merges from others come last and never win."""
        pairs: dict[str, tuple[ScalarNode, Node]] = {}
        merges: list[Node] = []
        for key, item in node.value:
            self._count(key, depth)
            if not isinstance(key, ScalarNode):
                self._problem(key, path, "a key that is no text", "a plain key")
            elif key.value == "<<" and key.style is None:
                merges += item.value if isinstance(item, SequenceNode) else [item]
            elif _SURROGATE.search(key.value):
                self._problem(key, path, "half a character (a surrogate) in a key", "text")
            elif key.value in pairs:
                found = f"the key a second time (first in line {pairs[key.value][0].start_mark.line + 1})"
                self._problem(key, (*path, key.value), found, "each key once")
            else:
                pairs[key.value] = key, item
        for merge in merges:
            if isinstance(merge, MappingNode):
                for name, pair in self._pairs(merge, path, depth + 1).items():
                    pairs.setdefault(name, pair)
            else:
                expected = "an alias of a mapping, or a list of such"
                self._problem(merge, path, "a merge key (<<) of no mapping", expected)
        return pairs

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind == "str":
            return self._text(node, path)
        value = resolve_plain(text)
        names: dict[str, type | tuple[type, ...]] = {
            "null": type(None),
            "bool": bool,
            "int": int,
            "float": (int, Decimal),
        }
        if kind in names and isinstance(value, names[kind]):
            return value
        self._problem(node, path, f"the tag {_quoted(node.tag)}", "a value without a tag")
        return None

    def _text(self, node: ScalarNode, path: Path) -> Any:
        text = node.value
        if _SURROGATE.search(text):
            self._problem(node, path, "half a character (a surrogate)", "text")
            return ""
        if "$" not in text:
            return text
        missing: list[str] = []

        def replace(match: re.Match[str]) -> str:
            if match["escape"]:
                return "$"
            name = match["name"]
            if name is None:
                missing.append(
                    "${NAME} or ${NAME:-default} around a variable's name; a plain $ is written $$"
                )
                return ""
            value = self.environ.get(name, "") or match["default"]
            if value is None and name not in self.environ:
                missing.append(f"the environment variable {name} to be set (or write ${{{name}:-default}})")
            return value or ""

        expanded = _VARIABLE.sub(replace, text)
        written = _written(node)
        for expected in list(dict.fromkeys(missing))[:_MOST_MISSING]:
            self._problem(node, path, written, expected)
        if len(expanded) > _MAX_SCALAR or _SURROGATE.search(expanded) or "\0" in expanded:
            self._problem(
                node, path, _written(node), f"variables of at most {_MAX_SCALAR} characters of UTF-8 text"
            )
            return ""
        if not expanded:
            return None
        return Expanded(expanded) if isinstance(resolve_plain(expanded), (bool, int, Decimal)) else expanded

    def _problem(self, node: Node, path: Path, found: str, expected: str) -> None:
        mark = node.start_mark
        self.problems.append(
            Problem(self.source, mark.line + 1, mark.column + 1, path_text(path), found, expected)
        )


def _written(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if node.tag == f"{_TAG}null":
        return "nothing"
    if node.tag != f"{_TAG}str":
        return _clip(node.value)
    if _VARIABLE.search(node.value):
        return f"{_quoted(node.value)} (what the variable holds is not shown)"
    return _quoted(node.value)


def _quoted(text: str) -> str:
    """Return ``text`` in quotes, without what may be a user's name and password in a URL."""
    start, end = text.find("//"), text.rfind("@")
    if 0 <= start < end:
        text = f"{text[:start]}//***{text[end:]}"
    return repr(_clip(text))


def _clip(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _clean(text: str) -> str:
    return _clip(" ".join(text.split()))


def _symptom(error: yaml.MarkedYAMLError) -> str:
    message = _clean(error.problem or error.context or "a syntax error")
    match = re.search(r"found (.*)", message)
    return match[1] if match else f"text that is not YAML ({message})"


def _hint(error: yaml.MarkedYAMLError, text: str) -> str:
    problem, mark = error.problem or "", error.problem_mark
    if mark is not None and text[: mark.index].endswith("$"):
        return "quotes around a value with ${NAME} where it stands inside {…} or […]"
    if "'\\t'" in problem:
        return "spaces for indentation, not tabs"
    if "alias" in problem or "alias" in (error.context or ""):
        return "an anchor of that name above (a value that begins with '*' or '&' stands in quotes)"
    if "mapping values are not allowed" in problem:
        return "one key per line, keys of a mapping equally indented, quotes around a value that holds ': '"
    if "expected a single document" in (error.context or ""):
        return "one document (no further '---')"
    return "valid YAML"
