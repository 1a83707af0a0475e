"""What model servers do wrong: every deed at every moment, or the reason why that pair is none.

A client that speaks HTTP/1.0 gets the bodies of unknown length once more: only a reset can tell it that one is cut.
"""

from collections.abc import Iterator
from typing import Any

from tests.faults.cells import (
    ASK,
    ASK_HTTP10,
    BRIEF_S,
    CHUNKED,
    OK,
    PATIENT,
    SERVES,
    Cell,
    request_head,
)
from tests.hostile.steps import (
    Answered,
    Drip,
    Ended,
    Fin,
    Flood,
    HoldReading,
    Pause,
    ReadHead,
    ReadRequest,
    Reset,
    Script,
    Send,
    Serve,
    Sip,
    Step,
)

__all__ = ["MODEL_CELLS", "MODEL_DEEDS", "MODEL_MOMENTS", "MODEL_NOT_CELLS"]

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
IN_CHUNK = CHUNKED + b"5\r\nevent\r\n8\r\npart"
IN_TRAILER = CHUNKED + b"5\r\nevent\r\n0\r\nx-y"
IN_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\npart of it"
UPLOAD = 4 << 20
UPLOADS: Script = (Send(request_head(b"content-length: %d" % UPLOAD)), Flood(bytes(1 << 16), limit=UPLOAD))
UPLOADS_CHUNKS: Script = (
    Send(request_head(b"transfer-encoding: chunked")),
    Flood(b"10000\r\n" + bytes(1 << 16) + b"\r\n", limit=(UPLOAD >> 16) * (65536 + 9)),
    Send(b"0\r\n\r\n"),
)

EARLY = "before the first byte of the answer: an answer of ours"
TWICE = EARLY + "; a connection that was never made is tried once more (retry: connect-failure)"
CUT = "the answer has begun: the client can tell that it is not whole"
CUT_1_0 = "for HTTP/1.0 the end of the connection is the end of the body: only a reset says it is cut"
SLOW = "slow, but each gap is shorter than the timeout"


def _fault(kind: str, code: int, **more: Any) -> dict[str, Any]:
    return {"faults": {kind: 1}, "codes": {code: 1}, **more}


def _cell(when: str, what: str, answer: str | tuple[str, ...], why: str, *model: Script, **rest: Any) -> Cell:
    return Cell("model", when, what, answer, why, model=model or (SERVES,), **rest)


def _connecting() -> Iterator[Cell]:
    yield _cell(
        CONNECTING,
        "closes: refuses",
        "502 whole, kept",
        EARLY,
        address="refused",
        lines="",
        faults={"connect": 2},
        codes={502: 1},
        retries=1,
    )
    yield _cell(
        CONNECTING,
        "stalls: a full queue",
        "504 whole, kept",
        TWICE,
        address="blackhole",
        lines="",
        faults={"connect_timeout": 2},
        codes={504: 1},
        retries=1,
    )
    # It may be gone before it is asked, which is a connection that could not be made: tried once more, as it is safe.
    soon = {
        "faults": ({"reset": 1}, {"connect": 1, "reset": 1}, {"connect": 2}),
        "codes": {502: 1},
        "retries": (0, 1),
    }
    for what, step in (("closes", Fin()), ("resets", Reset())):
        yield _cell(ACCEPTED, what, "502 whole, kept", EARLY, (step,), lines=("own", "own, own"), **soon)
    asked = {
        "faults": ({"protocol": 1}, {"connect": 1, "protocol": 1}, {"connect": 2}),
        "codes": {502: 1},
        "retries": (0, 1),
    }
    for what, script in (
        ("junk", (Send(b"220 smtp.example.org ESMTP\r\n"), Ended())),
        ("floods: junk without an end", (Flood(b"\x00" * 4096),)),
    ):
        yield _cell(ACCEPTED, what, "502 whole, kept", EARLY, script, lines=("left", "left, left"), **asked)


def _too_early() -> Iterator[Cell]:
    yield _cell(
        ACCEPTED,
        "junk: an answer before it is asked",
        ("502 whole, kept", "200 whole, kept"),
        "seen before the request is out it is junk, else nothing tells it from the answer; only this client gets it",
        (Send(OK), Ended()),
        codes=({502: 1}, {200: 1}),
        faults=({}, {"protocol": 1}, {"connect": 1, "protocol": 1}, {"connect": 1}, {"connect": 2}),
        retries=(0, 1),
        lines=("left", "kept", "left, left", "left, kept"),
    )


def _reading() -> Iterator[Cell]:
    for form, client in (("", UPLOADS), (": an upload in chunks", UPLOADS_CHUNKS)):
        sends: dict[str, Any] = {"client": client}
        why = EARLY + "; the rest of the upload is not wanted"
        yield _cell(
            READING,
            "closes" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Fin()),
            **_fault("reset", 502, lines="own"),
            **sends,
        )
        yield _cell(
            READING,
            "resets" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Reset()),
            **_fault("reset", 502, lines="own"),
            **sends,
        )
        yield _cell(
            READING,
            "stalls" + (form or ": takes nothing"),
            "504 whole, closed",
            why,
            (HoldReading(), Pause(BRIEF_S * 2.5), Sip(), Ended()),
            model_reads=False,
            model_receive_bytes=4096,
            **_fault("timeout", 504, lines="left"),
            **sends,
        )
        yield _cell(
            READING,
            "drips" + (form or ": takes it slowly"),
            "200 whole, kept",
            SLOW,
            (Sip(64 << 10, 0.002), Serve(OK)),
            settings=PATIENT,
            **sends,
        )
        yield _cell(
            READING,
            "junk" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Send(b"\x00\x00"), Ended()),
            **_fault("protocol", 502, lines="left"),
            **sends,
        )
    yield from _early_answers()


def _early_answers() -> Iterator[Cell]:
    no = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"
    why = "RFC 9112 §9.3: an answer may come before the request is whole"
    half = UPLOAD // 2
    pieces: dict[str, Any] = {
        "client": (
            Send(request_head(b"content-length: %d" % UPLOAD)),
            Flood(bytes(1 << 16), limit=half),
            Answered(b"no"),
            Flood(bytes(1 << 16), limit=UPLOAD - half),
        ),
        "codes": {403: 1},
    }
    yield _cell(
        READING,
        "junk: no junk, an early answer",
        "403 whole, kept",
        why,
        (ReadHead(), Send(no), Ended()),
        lines="left",
        **pieces,
    )
    yield _cell(
        READING,
        "closes: after an early answer",
        "403 whole, kept",
        why
        + "; closing with the upload unread resets (§9.6), and the answer lies in the socket all the same",
        (ReadHead(), Send(no), Fin()),
        lines="own",
        **pieces,
    )
    streams = (
        ReadHead(),
        Send(CHUNKED),
        Flood(b"4000\r\n" + bytes(0x4000) + b"\r\n", limit=1 << 20),
        Send(b"0\r\n\r\n"),
        Ended(),
    )
    yield _cell(
        READING,
        "floods: a megabyte of early answer",
        "200 whole, kept",
        why,
        streams,
        lines="left",
        client=(*pieces["client"][:2], Answered(b"\r\n0\r\n\r\n"), *pieces["client"][3:]),
        codes={200: 1},
    )
    yield _cell(READING, "resets: in an early answer", "200 cut, closed", CUT,
        (ReadHead(), Send(IN_LENGTH), Pause(0.1), Reset()), client=pieces["client"][:2],
        **_fault("reset", 200, lines="own"))  # fmt: skip


def _before_the_answer() -> Iterator[Cell]:
    yield from _ends(THINKING, b"", {"closes": "502", "resets": "502", "stalls": "504"})
    yield _cell(
        THINKING,
        "junk",
        "502 whole, kept",
        EARLY,
        (ReadRequest(), Send(b"\x16\x03\x03\x00\x01"), Ended()),
        **_fault("protocol", 502, lines="left"),
    )
    yield _cell(
        THINKING,
        "floods: empty lines",
        ("502 whole, kept", "504 whole, kept"),
        EARLY
        + "; empty lines are skipped, but not for ever: limit of the head or timeout, whichever is first",
        (ReadRequest(), Flood(b"\r\n" * 2048)),
        **_fault("protocol", 502, lines="left"),
    )
    begun = b"HTTP/1.1 103 Early Hints\r\nlink: <x"
    yield from _ends(INTERIM, begun, {"closes": "502", "resets": "502", "stalls": "504"})
    yield _cell(
        INTERIM, "drips", "200 whole, kept", SLOW,
        (ReadRequest(), Drip(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + OK, 0.003), Serve(OK)),
    )  # fmt: skip
    yield _cell(
        INTERIM,
        "junk: a status of 099",
        "502 whole, kept",
        EARLY,
        (ReadRequest(), Send(b"HTTP/1.1 099 Odd\r\n\r\n" + OK), Ended()),
        **_fault("protocol", 502, lines="left"),
    )
    yield _cell(
        INTERIM,
        "junk: a switch of protocols nobody asked for",
        "502 whole, kept",
        EARLY + "; RFC 9110 §15.2.2",
        (
            ReadRequest(),
            Send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            Ended(),
        ),
        **_fault("protocol", 502, lines="left"),
    )
    yield _cell(
        INTERIM,
        "floods: interim answers without an end",
        "504 whole, kept",
        EARLY + "; interim answers win no time",
        (ReadRequest(), Flood(b"HTTP/1.1 100 Continue\r\n\r\n", gap_s=0.005)),
        **_fault("timeout", 504, lines="left"),
    )


def _ends(when: str, begun: bytes, codes: dict[str, str], **rest: Any) -> Iterator[Cell]:
    """Yield the three ways to stop before the head of the answer is complete."""
    deeds: dict[str, tuple[Step, str]] = {
        "closes": (Fin(), "reset"),
        "resets": (Reset(), "reset"),
        "stalls": (Ended(), "timeout"),
    }
    for what, (step, kind) in deeds.items():
        yield _cell(
            when,
            what,
            f"{codes[what]} whole, kept",
            EARLY,
            (ReadRequest(), Send(begun), Pause(0.02), step),
            **_fault(kind, int(codes[what]), lines="left" if what == "stalls" else "own"),
            **rest,
        )


def _in_the_head() -> Iterator[Cell]:
    yield from _ends(
        HEAD, b"HTTP/1.1 200 OK\r\ncontent-le", {"closes": "502", "resets": "502", "stalls": "504"}
    )
    yield _cell(HEAD, "drips", "200 whole, kept", SLOW, (ReadRequest(), Drip(OK, 0.003), Serve(OK)))
    heads = {
        "junk: a control byte": b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        "junk: two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        "junk: a length and chunks": CHUNKED[:-2] + b"content-length: 2\r\n\r\n0\r\n\r\n",
        "junk: HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "junk: no number for a status": b"HTTP/1.1 OK\r\n\r\n",
    }
    for what, data in heads.items():
        yield _cell(
            HEAD,
            what,
            "502 whole, kept",
            EARLY,
            (ReadRequest(), Send(data), Ended()),
            **_fault("protocol", 502, lines="left"),
        )
    floods: dict[str, Step] = {
        "floods: a long line": Flood(b"y" * 4096),
        "floods: many lines": Flood(b"x: y\r\n" * 500),
    }
    for what, step in floods.items():
        yield _cell(
            HEAD,
            what,
            "502 whole, kept",
            EARLY + "; a head has at most 256 KiB",
            (ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nx: "), step),
            **_fault("protocol", 502, lines="left"),
        )


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
                yield _cell(
                    when, what + form, cut, why, script, client=client, **_fault(kind, 200, lines=lines)
                )
            script = (ReadRequest(), Drip(whole, 0.003), Serve(OK))
            yield _cell(when, "drips" + form, f"200 whole, {kept}", SLOW, script, client=client)


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
        yield _cell(when, what, "200 cut, closed", CUT, script, **_fault("protocol", 200, lines="left"))
    over = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + b"surplus"
    why = "what is whole is whole; the connection that sent more is not used again"
    yield _cell(
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
        yield _cell(
            UNTIL_CLOSE,
            "closes" + form,
            whole,
            "RFC 9112 §6.3: that is its end",
            (*begun, Fin()),
            lines="own",
            **rest,
        )
        yield _cell(
            UNTIL_CLOSE,
            "resets" + form,
            cut,
            why,
            (*begun, Reset()),
            **_fault("reset", 200, lines="own"),
            **rest,
        )
        yield _cell(
            UNTIL_CLOSE,
            "stalls" + form,
            cut,
            why,
            (*begun, Ended()),
            **_fault("idle_timeout", 200, lines="left"),
            **rest,
        )
        yield _cell(
            UNTIL_CLOSE,
            "drips" + form,
            whole,
            SLOW,
            (ReadRequest(), Send(head), Drip(b"x" * 40, 0.003), Fin()),
            lines="own",
            **rest,
        )
    yield _cell(
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
        yield _cell(
            CHUNKS,
            "drips: for ever" + form,
            cut,
            "routes.timeout bounds the whole request",
            script,
            client=(Send(ask),),
            route={"timeout": "1200ms"},
            **_fault("request_timeout", 200, lines="left"),
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
        yield _cell(
            BEHIND, what, both, fresh, (ReadRequest(), Send(OK), step), SERVES, lines="own, kept", **twice
        )
    odd = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake"
    for what, data in (("junk", b"\x00"), ("junk: a second answer", odd.encode())):
        yield _cell(
            BEHIND,
            what,
            both,
            "nobody asked: bytes behind an answer never become part of the next (RFC 9112 §9.2)",
            (ReadRequest(), Send(OK), Pause(0.03), Send(data), Ended()),
            SERVES,
            lines="left, kept",
            **twice,
        )
    yield _cell(
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
    yield _cell(
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
        yield _cell(
            AGAIN, what, "200 whole, 200 whole, kept", stale, (*first, step), SERVES,
            lines="own, kept", codes={200: 2}, retries=1, **twice,
        )  # fmt: skip
        yield _cell(
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
        yield _cell(
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
    yield _cell(
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


MODEL_CELLS: tuple[Cell, ...] = (
    *_connecting(),
    *_too_early(),
    *_reading(),
    *_before_the_answer(),
    *_in_the_head(),
    *_in_a_body(),
    *_bad_bodies(),
    *_until_close(),
    *_lasting_bodies(),
    *_behind_the_answer(),
    *_asked_again(),
)
