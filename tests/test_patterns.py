"""No regular expression of ours takes quadratic time, whatever it is put to."""

import ast
import importlib
import re
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SIZE = 64 * 1024
PATIENCE_S = 1.0
"""Of the processor's time, for one try; linear patterns take some milliseconds, quadratic ones seconds or minutes."""

PIECES = (
    "a", "0", "A", " ", "\t", ".", ":", "-", "/", "%", "=", ",", ";", '"', "*", "$", "{", "\n", "\r\n", "a ", "a.",
    "a:", "a=", "0.", "x-", "%41", "a,b;", "1h", "${A:-", "//@", "Host: a\r\n", "\r\nx-request-id: a",
    "\\", "\\u00", "\\x4", "&#", "&amp", "%4", "a-", "=", "@", "a@", "a@b.", "+1", "4111 ", "eyJ", "://a:", "sk-",
    "-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ",
)  # fmt: skip
EDGES = (
    ("", ""),
    ("", "\x01"),
    ("/", "!\0"),
    ("http://", " "),
    ("\r\nx-request-id: ", "\x7f"),
    ("$" + "{", "}x"),
)
ANCHORED = ("match", "fullmatch")


def named_patterns() -> dict[str, tuple[re.Pattern[str] | re.Pattern[bytes], set[str]]]:
    """Return every pattern that a module keeps, and the methods by which that module uses it."""
    found = {}
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        if path.name == "__main__.py" or "re.compile(" not in (text := path.read_text()):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        used: dict[str, set[str]] = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.setdefault(node.value.id, set()).add(node.attr)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                found[f"{module.__name__}.{name}"] = (value, used.get(name, set()))
    return found


PATTERNS = named_patterns()


@pytest.mark.parametrize("name", PATTERNS)
def test_linear_time(name: str) -> None:
    """64 KiB of anything are judged at once, by the methods that the module uses."""
    pattern, used = PATTERNS[name]
    methods = [method for method in ("search", "sub", "findall", "finditer", "split") if method in used]
    for method in (*ANCHORED, *methods):
        for piece in PIECES:
            for before, behind in EDGES:
                text = before + piece * (SIZE // len(piece)) + behind
                # A busy machine may count as ours what another took: what is quadratic takes long each time.
                assert any(seconds(pattern, method, text) < PATIENCE_S for _ in range(3)), (
                    f"{method}: {before!r}, {piece!r} repeated, {behind!r}"
                )


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> float:
    """Return how much of the processor's time a call takes."""
    began = time.process_time()
    act(pattern, method, text)
    return time.process_time() - began


def act(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> None:
    """Call one method of ``pattern`` to its end."""
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    empty = b"" if isinstance(subject, bytes) else ""
    arguments = (empty, subject) if method == "sub" else (subject,)
    result = getattr(pattern, method)(*arguments)
    if method == "finditer":
        list(result)


def test_what_is_written_in_place_is_bounded() -> None:
    """``re.search`` and its kin are not used with patterns written in place, which the test above would not see."""
    loose = re.compile(r"\bre\.(search|sub|findall|finditer|split)\(")
    allowed = {
        "settings/document.py": 'match = re.search(r"found (.*)", message)',
        "settings/units.py": 're.search(r"[^\\x21-\\x7e]", text)',
    }
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        text = path.read_text()
        known = allowed.get(path.relative_to(ROOT / "proxy").as_posix(), "")
        assert not loose.search(text.replace(known, "") if known else text), path
