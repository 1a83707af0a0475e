"""The limit of open files: every connection is one, and a process at its limit closes new ones without a word.

Rule
    The limit that a process is given is often 1024 for no better reason than ``select``; what it may raise it to itself
    is what its administrator allows. So the supervisor raises it (as HAProxy, Envoy and Go programs do), its children
    inherit that, and if it is less than the configuration needs it says so.
"""

import contextlib
import os
import resource

from proxy.model import Role
from proxy.settings import Settings

__all__ = ["hold_standard_streams", "needed", "raise_limit", "shortage"]

OWN_FILES = 128
"""Tables, sockets, pipes and logs of one process."""

_MOST = 1 << 20
"""Asked for where the system names no highest number, as macOS does, which then refuses all above its own."""
_MACOS_MOST = 10_240


def hold_standard_streams() -> None:
    """Open the null device in place of each standard stream that the program was started without.

    Else a connection would get its number, and be written to by whoever prints; libuv ends a process that closes one.
    The streams are handed on to children.
    """
    for fd in range(3):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest number that is free: this one


def raise_limit() -> int:
    """Raise this process's limit of open files as far as it may; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _MOST if hard == resource.RLIM_INFINITY else hard
    for limit in (highest, _MACOS_MOST):
        if soft != resource.RLIM_INFINITY and soft < limit:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def needed(settings: Settings) -> int:
    """Return how many files one worker may have open when every connection that ``settings`` allows is there."""
    used = {variant.model for route in settings.routes for variant in route.variants}
    copied = [shadow.model for route in settings.routes for shadow in route.shadows]
    for route in settings.routes:
        if route.shadows and route.compare.noise:
            copied.append(next(variant.model for variant in route.variants if variant.role == Role.CHAMPION))
    to_models = sum(settings.models[name].max_connections for name in [*used, *copied])
    return settings.limits.connections + to_models + OWN_FILES


def shortage(settings: Settings, limit: int) -> str:
    """Return the sentence to log when ``limit`` open files are too few for ``settings``; empty: they are enough."""
    if limit == resource.RLIM_INFINITY or needed(settings) <= limit:
        return ""
    return (
        f"a worker may open {limit} files, and limits.connections with the models' max_connections can need "
        f"{needed(settings)}: connections beyond are closed without an answer; raise the limit (ulimit -Hn, "
        "LimitNOFILE=) or lower limits.connections"
    )
