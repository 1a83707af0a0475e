"""Text → settings, or every problem at once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from proxy.errors import ConfigError, Problem
from proxy.settings.document import Document, Path, Place, Source, read_document
from proxy.settings.fields import Section
from proxy.settings.grammar import EXPECTED, did_you_mean
from proxy.settings.rules import check_rules
from proxy.settings.schema import Settings
from proxy.settings.sinks import LIBRARIES
from proxy.settings.view import View

__all__ = [
    "load",
    "load_with_source",
    "parse",
    "parse_with_source",
]

_SECRETS = frozenset({"admin_token", "force_secret", "unit_key", "secret"})
_SHAPES = frozenset({"a mapping", "a list", "nothing"})
_SHOWN_OF_SINKS = frozenset(
    {"kind", "name", "queue", "dir", "compression", "mode", "timeout", "roll_every", "acks", "key"}
)
"""Keys of a sink whose value may be shown when it is wrong: the others may hold credentials, or be where they slipped.
"""


def load(path: str | os.PathLike[str]) -> Settings:
    """Read and parse the file at ``path`` with this process's environment.

    Raises:
        ConfigError: every problem of the file, or the one that kept it from being read.
    """
    return load_with_source(path)[0]


def load_with_source(path: str | os.PathLike[str]) -> tuple[Settings, Source]:
    """Like :func:`load`, and say where each value stands."""
    name = os.fspath(path)
    try:
        text = FilePath(name).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        found = (
            (error.strerror or "an error").lower()
            if isinstance(error, OSError)
            else "bytes that are not UTF-8"
        )
        problem = Problem(name, 0, 0, "", found, "a readable YAML file in UTF-8")
        raise ConfigError((problem,)) from error
    return parse_with_source(text, environ=os.environ, source=name)


def parse(text: str, *, environ: Mapping[str, str], source: str = "modelproxy.yaml") -> Settings:
    """Return the settings that ``text`` says.

    Args:
        text: YAML.
        environ: the variables for ``${NAME}``.
        source: name of the text in problems.

    Raises:
        ConfigError: every problem, in the order of the text.
    """
    return parse_with_source(text, environ=environ, source=source)[0]


def parse_with_source(
    text: str, *, environ: Mapping[str, str], source: str = "modelproxy.yaml"
) -> tuple[Settings, Source]:
    """Like :func:`parse`, and say where each value stands."""
    document = read_document(text, environ=environ, source=source)
    if document.problems and document.value is None:
        raise ConfigError(document.problems)
    document = replace(document, source=replace(document.source, places=_without_secrets(document.source)))
    settings, wrong = _validate(document)
    problems = _merged(document.problems, wrong, check_rules(document), _missing_libraries(document))
    if problems or settings is None:
        raise ConfigError(problems)
    return settings, document.source


def _missing_libraries(document: Document) -> list[Problem]:
    """Return a problem for each sink whose library is not installed."""
    log = View(document, (), document.value).at("payload_log")
    found = []
    for sink in log.items("sinks"):
        module, extra = LIBRARIES.get(str(sink.at("kind").value), ("", ""))
        if module and find_spec(module) is None:
            expected = f"{module}, which is not installed: pip install 'modelproxy[{extra}]'"
            found.append(sink.problem("kind", expected))
    return found


def _validate(document: Document) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(document.value), []
    except ValidationError as error:
        found = [_problem(document, each) for each in error.errors(include_url=False, include_input=False)]
        return None, [problem for problem in found if problem is not None]


def _problem(document: Document, error: Any) -> Problem | None:
    """Return the problem of one pydantic error; None when the error only follows from another one."""
    source, kind, context = document.source, error["type"], error.get("ctx", {})
    path: Path = tuple(step for step in error["loc"] if step != "[key]")
    if kind == EXPECTED:
        is_key = error["loc"][-1] == "[key]"
        found = repr(str(path[-1])[:60]) if is_key else None
        return source.problem(path, context[EXPECTED], found, at_key=is_key)
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        hint = did_you_mean(str(path[-1]), known)
        return source.problem(
            path, f"one of {', '.join(known)}{hint}", "a key that is unknown here", at_key=True
        )
    if kind == "missing":
        return source.problem(path, f"the key {path[-1]} here", "nothing")
    if kind in ("too_short", "too_long"):
        return _length_problem(document, path, kind, context)
    shape = "a list" if kind in ("tuple_type", "list_type") else "a mapping"
    return source.problem(path, shape)


def _length_problem(document: Document, path: Path, kind: str, context: dict[str, Any]) -> Problem | None:
    if kind == "too_long":
        return document.source.problem(path, f"at most {context['max_length']} entries", "more entries")
    # Entries that are wrong in themselves are not counted: that list is not too short.
    entries = document.value
    for step in path:
        entries = entries[step]
    return None if entries else document.source.problem(path, "at least one entry", "no entry")


def _known_keys(path: Path) -> list[str]:
    """Return the keys that the mapping at ``path`` may have."""
    section: type[Section] = Settings
    for step in path:
        if isinstance(step, str) and (inner := _section_of(section, step)) is not None:
            section = inner
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_of(section: type[Section], key: str) -> type[Section] | None:
    """Return the class of what stands under ``key``, be it the value, an item of a list or of a mapping."""
    for name, field in section.model_fields.items():
        if (field.alias or name) == key:
            kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
            return next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
    return None


def _without_secrets(source: Source) -> Mapping[Path, Any]:
    """Return the places with nothing left of what a secret says, wherever its key stands."""
    return {
        path: replace(place, written="a value that is not shown") if _is_secret(path, place) else place
        for path, place in source.places.items()
    }


def _is_secret(path: Path, place: Place) -> bool:
    if path[:2] == ("payload_log", "sinks"):
        return place.written not in _SHAPES and path[-1] not in _SHOWN_OF_SINKS
    if path[:1] == ("webhooks",):
        # Many receivers know who calls by the URL alone, and it may stand where it does not belong.
        return place.written not in _SHAPES and path[-1] not in ("on", "timeout")
    return bool(_SECRETS & set(path))


def _merged(*layers: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the problems in the order of the text, without those that follow from one of an earlier layer."""
    kept: list[Problem] = []
    for layer in layers:
        taken = {problem.path for problem in kept}
        kept += [problem for problem in layer if problem.path not in taken]
    return tuple(sorted(kept, key=lambda p: (p.line, p.column, p.path)))
