"""llhttp's own test messages as rows of the table: third-party data, read from beside the project where it is there.

Nearly all are cut short where their test stops; they are completed, as far as an empty line can do it. A message that
is valid in the parser's strict mode must not be refused, and one that is not must not be taken. The exceptions are in
:data:`REASONS`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from tests.conformance.case import Verdict, get, summary
from tests.conformance.stage import CLOSE, Outcome, Script, Stage
from tests.wire.referee import CORPUS

__all__ = ["REASONS", "CorpusRow", "corpus_rows", "judge_row", "play_row"]

_REQUEST_LINE = re.compile(rb"(?m)^[A-Z-]+ [^ ]+ HTTP/1\.1\r\n")
_HOST = re.compile(rb"(?mi)^host:")

REASONS = {
    "CONNECT is not for a model server": rb"CONNECT ",
    "the preface of HTTP/2": rb"PRI ",
    "a fragment is no part of a target": rb"[A-Z]+ [^ ]*#",
    "user information is an error (RFC 9110 §4.2.4)": rb"GET http://[^/]*@",
    "an asterisk goes with OPTIONS (RFC 9112 §3.2.4)": rb"M-SEARCH \*",
    "no transfer coding but chunked is implemented": rb"(?s).*Transfer-Encoding: (?!chunked\r\n[^T])",
    "the field that says the length is there twice": rb"(?s).*Transfer-Encoding: .*Transfer-Encoding: ",
    "a switch of protocols that nobody asked for": rb"HTTP/1.1 101 ",
    "what stands behind a request for another protocol is HTTP, as nobody has switched": rb"(?s).*\nUpgrade: ",
    "a version that we do not speak": rb"HTTP/(0.9|2.0) |GET /\r",
}
"""Why we refuse what the parser takes → pattern of such messages."""


class CorpusRow(NamedTuple):
    """One message."""

    name: str
    kind: str
    """``request`` or ``response``."""
    raw: bytes
    is_valid: bool
    """In strict mode: what lenient modes allow is not valid."""
    why: str


def corpus_rows() -> Iterator[CorpusRow]:
    """Yield every message; none where the corpus is absent."""
    if not CORPUS.exists():
        return
    for number, line in enumerate(CORPUS.read_bytes().splitlines()):
        row = orjson.loads(line)
        text = row["raw"]
        raw = text.encode("utf-8" if max(text, default="") > "\xff" else "latin-1")
        is_valid = row["verdict"] == "valid" and row["mode"] in (row["kind"], f"{row['kind']}-finish")
        yield CorpusRow(f"{number} {row['id']}", row["kind"], raw, is_valid, row["why"] or row["mode"])


def completed(raw: bytes) -> bytes:
    """Return a message with the empty line that the end of its test has cut off."""
    return raw + b"\r\n" if raw.endswith(b"\r\n") and not raw.endswith(b"\r\n\r\n") else raw


def with_host(raw: bytes) -> bytes:
    """Return a request with ``Host``, which most of the corpus lacks and RFC 9112 §3.2 demands."""
    return raw if _HOST.search(raw) else _REQUEST_LINE.sub(rb"\g<0>Host: h\r\n", raw)


def play_row(stage: Stage, row: CorpusRow) -> Verdict:
    """Let a client send the request, or the model server answer with the response, and judge what came of it."""
    raw = completed(row.raw)
    if row.kind == "request":
        return judge_row(
            row, stage.play([with_host(raw)], methods=(b"HEAD" if raw[:5] == b"HEAD " else b"GET",))
        )
    return judge_row(row, stage.play([get()], [Script(at_end=(raw, CLOSE) if row.is_valid else (raw,))]))


def judge_row(row: CorpusRow, outcome: Outcome) -> Verdict:
    """Compare what came of a message with what the parser says of it."""
    statuses = [answer.status for answer in outcome.answers]
    is_refused = bool(statuses) and statuses[-1] >= 400 and b"x-modelproxy-variant" not in _names(outcome)
    if row.is_valid:
        expected, is_right = "not refused", not is_refused
    else:
        expected = "not taken"
        is_right = is_refused or not statuses or outcome.closed or outcome.seen[0].closed
    note = "" if is_right == row.is_valid else row.why
    if not is_right:
        note = next((reason for reason, pattern in REASONS.items() if re.match(pattern, row.raw)), "")
    differences = [] if is_right or note else [f"{row.why}: {row.raw[:120]!r}"]
    differences += [error for error in (outcome.error, *(seen.error for seen in outcome.seen)) if error]
    return Verdict(row.name, "llhttp's tests", expected, summary(outcome), note, tuple(differences))


def _names(outcome: Outcome) -> set[bytes]:
    return {name.lower() for name, _ in outcome.answers[-1].fields}
