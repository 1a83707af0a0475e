"""What model servers can do wrong and when, why some pairs are none, and how a cell of theirs is written."""

from typing import Any

from tests.faults.cells import SERVES, Cell
from tests.hostile.steps import Script

__all__ = [
    "ACCEPTED",
    "AGAIN",
    "BEHIND",
    "CHUNKS",
    "CONNECTING",
    "CUT",
    "CUT_1_0",
    "EARLY",
    "HEAD",
    "INTERIM",
    "IN_LENGTH",
    "LENGTH",
    "MODEL_DEEDS",
    "MODEL_MOMENTS",
    "MODEL_NOT_CELLS",
    "READING",
    "SLOW",
    "THINKING",
    "TRAILER",
    "TWICE",
    "UNTIL_CLOSE",
    "cell",
    "fault",
]

MODEL_DEEDS = ("closes", "resets", "stalls", "drips", "junk", "floods")

CONNECTING = "connecting"
ACCEPTED = "accepted, not asked yet"
READING = "while the request is coming"
THINKING = "before its answer"
INTERIM = "in an interim answer"
HEAD = "in its head"
LENGTH = "in a body of known length"
CHUNKS = "in a chunk"
TRAILER = "in the trailer"
UNTIL_CLOSE = "in a body that ends with the connection"
BEHIND = "behind its answer"
AGAIN = "asked again on a kept connection"
MODEL_MOMENTS = (
    CONNECTING,
    ACCEPTED,
    READING,
    THINKING,
    INTERIM,
    HEAD,
    LENGTH,
    CHUNKS,
    TRAILER,
    UNTIL_CLOSE,
    BEHIND,
    AGAIN,
)

_NO_BYTE = "no byte can be sent before there is a connection"
MODEL_NOT_CELLS = {
    (CONNECTING, "resets"): "over TCP a refused connection is a reset: 'closes'",
    (CONNECTING, "drips"): _NO_BYTE,
    (CONNECTING, "junk"): _NO_BYTE,
    (CONNECTING, "floods"): _NO_BYTE,
    (ACCEPTED, "stalls"): "a connection is opened to ask at once: the same as before its answer",
    (ACCEPTED, "drips"): "any byte is junk: nothing was asked",
    (THINKING, "drips"): "the first byte begins the head",
    (LENGTH, "junk"): "any byte is a byte of the body",
    (UNTIL_CLOSE, "junk"): "any byte is a byte of the body",
    (BEHIND, "stalls"): "an idle connection is all that is asked for",
    (BEHIND, "drips"): "one byte is junk",
    (AGAIN, "drips"): "the same as in its head",
    (AGAIN, "junk"): "the same as before its answer",
    (AGAIN, "floods"): "the same as before its answer",
}

IN_LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\npart of it"
"""An answer that says how long it is, and is not."""

EARLY = "before the first byte of the answer: an answer of ours"
TWICE = EARLY + "; a connection that was never made is tried once more (retry: connect-failure)"
CUT = "the answer has begun: the client can tell that it is not whole"
CUT_1_0 = "for HTTP/1.0 the end of the connection is the end of the body: only a reset says it is cut"
SLOW = "slow, but each gap is shorter than the timeout"


def fault(kind: str, code: int, **more: Any) -> dict[str, Any]:
    """Return the expectation of a cell in which the model fails once, and the client gets ``code``."""
    return {"faults": {kind: 1}, "codes": {code: 1}, **more}


def cell(when: str, what: str, answer: str | tuple[str, ...], why: str, *model: Script, **rest: Any) -> Cell:
    """Return a cell of the model's side; without a script, the model serves."""
    return Cell("model", when, what, answer, why, model=model or (SERVES,), **rest)
