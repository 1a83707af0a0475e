"""What of ``compare.noise`` is allowed and probably not meant: warnings about asking the champion twice."""

from collections.abc import Iterator

from proxy.durations import format_duration
from proxy.errors import Problem
from proxy.model import Role
from proxy.settings.document import Path, Source
from proxy.settings.schema import Settings
from proxy.settings.traffic import Model, Route

__all__ = ["noise_warnings"]


def noise_warnings(settings: Settings, route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Yield what keeps the champion from being asked twice, or its two answers from being two draws of the same.

    Args:
        settings: the whole.
        route: one of its routes.
        path: of the route.
        source: where its values stand.
    """
    compare, here = route.compare, (*path, "compare")
    if not compare.noise:
        if compare.excess:
            expected = (
                "a share under noise: without it nobody knows how often the champion differs from itself"
            )
            yield source.problem((*here, "excess"), expected, "excess where the champion is asked once")
        return
    if not any(shadow.percent for shadow in route.shadows):
        expected = "a shadow in this route: only what is mirrored goes to the champion once more"
        yield source.problem((*here, "noise"), expected, "noise where nothing is mirrored")
    elif compare.as_ == "none":
        expected = "a method under as: answers that nobody compares have no noise"
        yield source.problem((*here, "noise"), expected, "noise where nothing is compared")
    else:
        yield from _timeouts(settings, route, path, source)
        yield from _balance(settings, route, here, source)


def _champion(settings: Settings, route: Route) -> tuple[str, Model]:
    name = next(variant.model for variant in route.variants if variant.role is Role.CHAMPION)
    return name, settings.models[name]


def _timeouts(settings: Settings, route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Find copies that have less time than others, or than the client's own request.

    Where a model is slower than the champion, only its short answers come in time: it then differs because of that.
    """
    name, champion = _champion(settings, route)
    longest = max(champion.timeout, *(shadow.timeout for shadow in route.shadows if shadow.percent))
    whose = f"as models.{name} has" if longest == champion.timeout else "as the longest of the shadows"
    for i, shadow in enumerate(route.shadows):
        if shadow.percent and shadow.timeout < longest:
            expected = (
                f"{format_duration(longest)} beside compare.noise, {whose}: else a slower model differs by the answers "
                "that it has no time for"
            )
            found = format_duration(shadow.timeout)
            yield source.problem((*path, "shadows", i, "timeout"), expected, found)


def _balance(settings: Settings, route: Route, path: Path, source: Source) -> Iterator[Problem]:
    name, champion = _champion(settings, route)
    if champion.balance == "hash" and len(champion.urls) > 1:
        expected = (
            f"least-loaded servers under models.{name}.balance: by hash the champion's second answer comes from the "
            "server of the first, and what differs between servers looks as if it differed between models"
        )
        yield source.problem((*path, "noise"), expected, "noise of a champion that is balanced by hash")
