"""What model servers do wrong in the body of their answer, and behind it.

A client that speaks HTTP/1.0 gets the bodies of unknown length once more: only a reset can tell it that one is cut.
"""

from collections.abc import Iterator
from typing import Any

from tests.faults.cells import ASK, ASK_HTTP10, CHUNKED, OK, PATIENT, SERVES, Cell
from tests.faults.model_moments import (
    AGAIN,
    BEHIND,
    CHUNKS,
    CUT,
    CUT_1_0,
    IN_LENGTH,
    LENGTH,
    SLOW,
    TRAILER,
    UNTIL_CLOSE,
    cell,
    fault,
)
from tests.hostile.steps import (
    Answered,
    Drip,
    Ended,
    Fin,
    Flood,
    Pause,
    ReadRequest,
    Reset,
    Script,
    Send,
    Serve,
    Step,
)

__all__ = ["ANSWER_CELLS"]

IN_CHUNK = CHUNKED + b"5\r\nevent\r\n8\r\npart"
IN_TRAILER = CHUNKED + b"5\r\nevent\r\n0\r\nx-y"
IN_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\npart of it"


def _in_a_body() -> Iterator[Cell]:
    bodies = (
        (LENGTH, IN_LENGTH, b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n" + b"x" * 20),
        (CHUNKS, IN_CHUNK, CHUNKED + b"5\r\nevent\r\n0\r\n\r\n"),
        (TRAILER, IN_TRAILER, CHUNKED + b"5\r\nevent\r\n0\r\nx-y: z\r\n\r\n"),
    )
    for when, begun, whole in bodies:
        for form, ask in (("", ASK), (": for HTTP/1.0", ASK_HTTP10)):
            client: Script = (Send(ask),)
            kept = "closed" if form else "kept"
            is_chunked = when != LENGTH
            cut = "200 cut, reset" if form else "200 cut, closed"
            why = CUT_1_0 if form and is_chunked else CUT
            deeds: dict[str, tuple[Step, str]] = {
                "closes": (Fin(), "reset"),
                "resets": (Reset(), "reset"),
                "stalls": (Ended(), "idle_timeout"),
            }
            for what, (step, kind) in deeds.items():
                script: Script = (ReadRequest(), Send(begun), Pause(0.05), step)
                lines = "left" if what == "stalls" else "own"
                yield cell(
                    when, what + form, cut, why, script, client=client, **fault(kind, 200, lines=lines)
                )
            script = (ReadRequest(), Drip(whole, 0.003), Serve(OK))
            yield cell(
                when, "drips" + form, f"200 whole, {kept}", SLOW, script, client=client, settings=PATIENT
            )


def _bad_bodies() -> Iterator[Cell]:
    wrong: tuple[tuple[str, str, bytes, Step], ...] = (
        (CHUNKS, "junk: a size that is none", CHUNKED + b"5\r\nevent\r\nzz\r\n", Ended()),
        (
            CHUNKS,
            "junk: a size too large to be one",
            CHUNKED + b"5\r\nevent\r\n" + b"f" * 17 + b"\r\n",
            Ended(),
        ),
        (CHUNKS, "junk: more than the size", CHUNKED + b"5\r\nevents\r\n", Ended()),
        (CHUNKS, "floods: a chunk extension", CHUNKED + b"5\r\nevent\r\n5;", Flood(b"y" * 4096)),
        (TRAILER, "junk", IN_TRAILER + b"\x00: z\r\n\r\n", Ended()),
        (TRAILER, "floods: a long line", IN_TRAILER, Flood(b"y" * 4096)),
        (TRAILER, "floods: many lines", CHUNKED + b"5\r\nevent\r\n0\r\n", Flood(b"x: y\r\n" * 500)),
    )
    for when, what, begun, step in wrong:
        # The head is sent on its own: what comes with it in one read may be refused with it.
        head, _, body = begun.partition(b"event")
        script = (ReadRequest(), Send(head + b"event"), Pause(0.05), Send(body), step)
        yield cell(when, what, "200 cut, closed", CUT, script, **fault("protocol", 200, lines="left"))
    over = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + b"surplus"
    why = "what is whole is whole; the connection that sent more is not used again"
    yield cell(
        LENGTH,
        "floods: more than its length",
        "200 whole, kept",
        why,
        (ReadRequest(), Send(over), Ended()),
        lines="left",
    )


def _until_close() -> Iterator[Cell]:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    for form, ask, kept, cut, why in (
        ("", ASK, "kept", "200 cut, closed", CUT),
        (": for HTTP/1.0", ASK_HTTP10, "closed", "200 cut, reset", CUT_1_0),
    ):
        rest: dict[str, Any] = {"client": (Send(ask),)}
        begun = (ReadRequest(), Send(IN_UNTIL_CLOSE), Pause(0.05))
        whole = f"200 whole, {kept}"
        yield cell(
            UNTIL_CLOSE,
            "closes" + form,
            whole,
            "RFC 9112 §6.3: that is its end",
            (*begun, Fin()),
            lines="own",
            **rest,
        )
        yield cell(
            UNTIL_CLOSE,
            "resets" + form,
            cut,
            why,
            (*begun, Reset()),
            **fault("reset", 200, lines="own"),
            **rest,
        )
        yield cell(
            UNTIL_CLOSE,
            "stalls" + form,
            cut,
            why,
            (*begun, Ended()),
            **fault("idle_timeout", 200, lines="left"),
            **rest,
        )
        yield cell(
            UNTIL_CLOSE,
            "drips" + form,
            whole,
            SLOW,
            (ReadRequest(), Send(head), Drip(b"x" * 40, 0.003), Fin()),
            lines="own",
            settings=PATIENT,
            **rest,
        )
    yield cell(
        UNTIL_CLOSE,
        "floods: eight megabytes",
        "200 whole, kept",
        "bodies are streamed, not held",
        (ReadRequest(), Send(head), Flood(bytes(1 << 16), limit=8 << 20), Fin()),
        lines="own",
    )


def _lasting_bodies() -> Iterator[Cell]:
    """Yield answers each of whose gaps is short enough, that never end."""
    for form, ask, cut in (("", ASK, "200 cut, closed"), (" for HTTP/1.0", ASK_HTTP10, "200 cut, reset")):
        script = (ReadRequest(), Send(CHUNKED), Flood(b"1\r\nb\r\n", gap_s=0.15, patience_s=4))
        yield cell(
            CHUNKS,
            "drips: for ever" + form,
            cut,
            "routes.timeout bounds the whole request",
            script,
            client=(Send(ask),),
            route={"timeout": "1200ms"},
            **fault("request_timeout", 200, lines="left"),
        )


def _behind_the_answer() -> Iterator[Cell]:
    twice: dict[str, Any] = {
        "client": (Send(ASK), Answered(b"ok"), Pause(0.1), Send(ASK)),
        "methods": 2,
        "codes": {200: 2},
    }
    both = "200 whole, 200 whole, kept"
    fresh = "the next request takes another connection"
    for what, step in (("closes", Fin()), ("resets", Reset())):
        yield cell(
            BEHIND, what, both, fresh, (ReadRequest(), Send(OK), step), SERVES, lines="own, kept", **twice
        )
    odd = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake"
    for what, data in (("junk", b"\x00"), ("junk: a second answer", odd.encode())):
        yield cell(
            BEHIND,
            what,
            both,
            "nobody asked: bytes behind an answer never become part of the next (RFC 9112 §9.2)",
            (ReadRequest(), Send(OK), Pause(0.03), Send(data), Ended()),
            SERVES,
            lines="left, kept",
            **twice,
        )
    yield cell(
        BEHIND,
        "junk: two answers at once",
        both,
        "nobody asked for the second",
        (ReadRequest(), Send(OK + odd.encode()), Ended()),
        SERVES,
        lines="left, kept",
        **twice,
    )
    endless = (ReadRequest(), Flood(OK * 100))
    yield cell(
        BEHIND,
        "floods: answers without an end",
        both,
        "nobody asked",
        endless,
        SERVES,
        lines="left, kept",
        **twice,
    )


def _asked_again() -> Iterator[Cell]:
    twice: dict[str, Any] = {"client": (Send(ASK), Answered(b"ok"), Send(ASK)), "methods": 2}
    first = (ReadRequest(), Send(OK), ReadRequest())
    stale = "no byte of the answer came and the request is at hand: once more, on a fresh connection"
    for what, step in (("closes", Fin()), ("resets", Reset())):
        yield cell(
            AGAIN, what, "200 whole, 200 whole, kept", stale, (*first, step), SERVES,
            lines="own, kept", codes={200: 2}, retries=1, **twice,
        )  # fmt: skip
        yield cell(
            AGAIN,
            what + ": twice",
            "200 whole, 502 whole, kept",
            "once more is once",
            (*first, step),
            (ReadRequest(), step),
            lines="own, own",
            codes={200: 1, 502: 1},
            faults={"reset": 1},
            retries=1,
            **twice,
        )
        yield cell(
            AGAIN,
            what + ": after a byte",
            "200 whole, 502 whole, kept",
            "the model has begun to answer: it may have acted",
            (*first, Send(b"H"), Pause(0.05), step),
            lines="own",
            codes={200: 1, 502: 1},
            faults={"reset": 1},
            **twice,
        )
    yield cell(
        AGAIN,
        "stalls",
        "200 whole, 504 whole, kept",
        "it may be at work: not once more",
        (*first, Ended()),
        lines="left",
        codes={200: 1, 504: 1},
        faults={"timeout": 1},
        **twice,
    )


ANSWER_CELLS: tuple[Cell, ...] = (
    *_in_a_body(),
    *_bad_bodies(),
    *_until_close(),
    *_lasting_bodies(),
    *_behind_the_answer(),
    *_asked_again(),
)
