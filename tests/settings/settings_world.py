"""A small valid file and the ways to bend it."""

from typing import Any

import orjson

from proxy.errors import ConfigError, Problem
from proxy.settings import Settings, parse

__all__ = ["MINIMAL", "canary", "minimal", "problems_of", "read", "told"]

MINIMAL = """\
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: r
    match: {path: /*}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 10}
"""


def minimal(**changes: Any) -> str:
    """Return the small file as JSON (which is YAML) with top-level keys set; ``route`` and ``model`` reach inside."""
    route = {
        "name": "r",
        "match": {"path": "/*"},
        "variants": [{"name": "v1", "model": "one", "role": "champion"}],
        **changes.pop("route", {}),
    }
    model = {"url": "http://127.0.0.1:9001", **changes.pop("model", {})}
    document = {
        "models": {"one": model, "two": {"url": "http://127.0.0.1:9002"}},
        "routes": [route],
        **changes,
    }
    return orjson.dumps(document).decode()


def canary(
    rollout: Any,
    *,
    others: list[dict[str, Any]] | None = None,
    shadows: list[Any] | None = None,
    **changes: Any,
) -> str:
    """Return the small file with a second variant, a canary of model two with this rollout; None: without one.

    Args:
        rollout: what stands under ``rollout``.
        others: further variants.
        shadows: those of the route.
        changes: further keys of the canary.
    """
    champion = {"name": "v1", "model": "one", "role": "champion"}
    second = {"name": "v2", "model": "two", "role": "canary", "rollout": rollout, **changes}
    return minimal(route={"variants": [champion, second, *(others or [])], "shadows": shadows or []})


def read(text: str, **environ: str) -> Settings:
    """Return the settings of ``text``."""
    return parse(text, environ=environ)


def problems_of(text: str, **environ: str) -> tuple[Problem, ...]:
    """Return the problems of ``text``; none when it is valid."""
    try:
        parse(text, environ=environ, source="f.yaml")
    except ConfigError as error:
        return error.problems
    return ()


def told(text: str, **environ: str) -> dict[str, str]:
    """Return path → ``found …, expected …`` of every problem."""
    return {p.path: f"found {p.found}, expected {p.expected}" for p in problems_of(text, **environ)}
