"""What no single field of the payload log's sinks can say: which keys a kind has, and what two sinks must not share."""

from collections.abc import Iterator
from posixpath import normpath

from proxy.errors import Problem
from proxy.settings.grammar import did_you_mean
from proxy.settings.sinks import COMMON_KEYS, COMPRESSIONS, DIRECTORIES, KEYS, REQUIRED_KEYS
from proxy.settings.view import View

__all__ = ["check_sinks"]


def check_sinks(log: View) -> Iterator[Problem]:
    """Yield what is wrong with the sinks of ``payload_log``. A field that is wrong in itself counts as absent."""
    names: dict[str, int] = {}
    places: dict[str, int] = {}
    for sink in log.items("sinks"):
        kind = sink.at("kind").value
        if kind not in KEYS:
            continue
        yield from _keys(sink, kind)
        yield from _compression(sink, kind)
        position = int(str(sink.path[-1]))
        name = sink.name("name") or str(kind)
        if name in names:
            expected = f"a name that no other sink has (sinks[{names[name]}] is called {name} too)"
            yield sink.problem("name", expected)
        names.setdefault(name, position)
        if kind in DIRECTORIES:
            place = _directory(log, sink, kind)
            # Who reads a directory reads all below it: one record would count as two.
            other = next((number for each, number in places.items() if _overlap(each, place)), None)
            if other is not None:
                expected = (
                    f"a directory that no other sink writes into, nor above or below it (sinks[{other}] does)"
                )
                yield sink.problem("dir", expected)
            places.setdefault(place, position)


def _overlap(one: str, other: str) -> bool:
    """Tell whether one of two normal relative paths is the other, or lies in it."""
    return "." in (one, other) or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _keys(sink: View, kind: str) -> Iterator[Problem]:
    allowed = COMMON_KEYS | KEYS[kind]
    known = frozenset().union(COMMON_KEYS, *KEYS.values())
    for key in sink.value:
        if key in known and key not in allowed and sink.has(key):
            expected = f"one of {', '.join(sorted(allowed))}{did_you_mean(key, sorted(allowed))}"
            yield sink.problem(key, expected, f"a key that {kind} does not have")
    for key in REQUIRED_KEYS[kind]:
        if not sink.has(key):
            yield sink.problem(None, f"the key {key} here: {kind} needs it", "nothing")


def _compression(sink: View, kind: str) -> Iterator[Problem]:
    value, known = sink.at("compression").value, COMPRESSIONS.get(kind, ())
    everywhere = {name for names in COMPRESSIONS.values() for name in names}
    if known and isinstance(value, str) and value in everywhere and value not in known:
        yield sink.problem("compression", f"one of {', '.join(known)}: {kind} knows no other")


def _directory(log: View, sink: View, kind: str) -> str:
    """Return where a sink writes, as far as it can be told."""
    said = sink.at("dir").value
    if isinstance(said, str):
        return normpath(said)
    common = log.at("dir").value
    return normpath(common) if kind == "jsonl" and isinstance(common, str) else DIRECTORIES[kind]
