"""How the records of each route are replayed and compared: from the routes of a configuration, or by one rule for all.

Pure: settings in, rules out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from proxy.compare import ComparisonRule
from proxy.settings import Compare, Settings

__all__ = ["RouteRule", "RouteRules", "compile_rules", "matched_prefix", "one_rule"]


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What a replay needs to know of one route."""

    compare: ComparisonRule
    matched_prefix: bytes = b""
    """The part of the path that a target's own path replaces."""
    shows_values: bool = True
    """Nothing of the route's bodies is redacted or left out: values of differences may be shown."""
    asks_meaning: bool = False
    """The embedder is asked how far texts are apart."""
    withholds_meaning: bool = False
    """It must not be: something is redacted in bodies, and a new answer is not redacted here."""

    def matches(self, path: str) -> bool:
        """Tell whether ``path`` begins with the part that is replaced."""
        matched = self.matched_prefix.decode()
        return path.startswith(matched) and path[len(matched) :][:1] in ("", "/")


class RouteRules:
    """The rule of each route.

    Args:
        named: by the route's name.
        other: for all others; None: there are no others.
    """

    def __init__(self, named: Mapping[str, RouteRule], other: RouteRule | None) -> None:
        self._named = named
        self._other = other

    def find(self, route: str) -> RouteRule | None:
        """Return the rule of ``route``; None if it is to be left alone."""
        return self._named.get(route, self._other)


def compile_rules(settings: Settings, changes: Mapping[str, Any]) -> RouteRules:
    """Return the rules of a configuration's routes.

    Args:
        settings: the configuration.
        changes: what stands in place of keys of each route's ``compare``.

    Raises:
        ValueError: a change is none that ``compare`` can have.
    """
    return RouteRules(
        {
            route.name: RouteRule(
                ComparisonRule.of(compare),
                matched_prefix(route.match.path),
                shows_values=not redacts and route.log.content is not False,
                asks_meaning=compare.embedder,
                withholds_meaning=redacts,
            )
            for route in settings.routes
            for compare in (_changed(route.compare, changes),)
            for redacts in (any(entry.header is None for entry in route.log.redact),)
        },
        None,
    )


def one_rule(changes: Mapping[str, Any], pattern: str | None) -> RouteRules:
    """Return one rule for the records of all routes: the defaults, with ``changes`` as in :func:`compile_rules`.

    Args:
        changes: of the section ``compare``.
        pattern: path that the records' routes match; None: none of a record's path is replaced.
    """
    prefix = b"" if pattern is None else matched_prefix(pattern)
    return RouteRules({}, RouteRule(ComparisonRule.of(_changed(Compare(), changes)), prefix))


def _changed(compare: Compare, changes: Mapping[str, Any]) -> Compare:
    if not changes:
        return compare
    kept = compare.model_dump(by_alias=True, exclude_unset=True)
    try:
        return Compare.model_validate(kept | dict(changes))
    except ValidationError as error:
        raise ValueError("; ".join(map(_sentence, error.errors(include_url=False)))) from None


def _sentence(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = ", ".join(field.alias or name for name, field in Compare.model_fields.items())
        return f"{key} is no key of compare; there are: {known}"
    return f"{key}: {error['msg']}"


def matched_prefix(pattern: str) -> bytes:
    """Return the part of a path that matched ``pattern`` which a model's own path replaces.

    >>> matched_prefix("/v2/models/wine/*")
    b'/v2/models/wine'
    """
    return pattern.removesuffix("*").rstrip("/").encode() if pattern.endswith("*") else pattern.encode()
