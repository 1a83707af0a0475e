"""What model servers do wrong before the head of their answer is whole."""

from collections.abc import Iterator
from typing import Any

from tests.faults.cells import BRIEF_S, CHUNKED, OK, PATIENT, Cell, request_head
from tests.faults.model_moments import (
    ACCEPTED,
    CONNECTING,
    CUT,
    EARLY,
    HEAD,
    IN_LENGTH,
    INTERIM,
    READING,
    SLOW,
    THINKING,
    TWICE,
    cell,
    fault,
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

__all__ = ["BEFORE_CELLS"]

UPLOAD = 4 << 20
UPLOADS: Script = (Send(request_head(b"content-length: %d" % UPLOAD)), Flood(bytes(1 << 16), limit=UPLOAD))
UPLOADS_CHUNKS: Script = (
    Send(request_head(b"transfer-encoding: chunked")),
    Flood(b"10000\r\n" + bytes(1 << 16) + b"\r\n", limit=(UPLOAD >> 16) * (65536 + 9)),
    Send(b"0\r\n\r\n"),
)


def _connecting() -> Iterator[Cell]:
    yield cell(
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
    yield cell(
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
        yield cell(ACCEPTED, what, "502 whole, kept", EARLY, (step,), lines=("own", "own, own"), **soon)
    asked = {
        "faults": ({"protocol": 1}, {"connect": 1, "protocol": 1}, {"connect": 2}),
        "codes": {502: 1},
        "retries": (0, 1),
    }
    for what, script in (
        ("junk", (Send(b"220 smtp.example.org ESMTP\r\n"), Ended())),
        ("floods: junk without an end", (Flood(b"\x00" * 4096),)),
    ):
        yield cell(ACCEPTED, what, "502 whole, kept", EARLY, script, lines=("left", "left, left"), **asked)


def _too_early() -> Iterator[Cell]:
    yield cell(
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
        yield cell(
            READING,
            "closes" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Fin()),
            **fault("reset", 502, lines="own"),
            **sends,
        )
        yield cell(
            READING,
            "resets" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Reset()),
            **fault("reset", 502, lines="own"),
            **sends,
        )
        yield cell(
            READING,
            "stalls" + (form or ": takes nothing"),
            "504 whole, closed",
            why,
            (HoldReading(), Pause(BRIEF_S * 2.5), Sip(), Ended()),
            model_reads=False,
            model_receive_bytes=4096,
            **fault("timeout", 504, lines="left"),
            **sends,
        )
        yield cell(
            READING,
            "drips" + (form or ": takes it slowly"),
            "200 whole, kept",
            SLOW,
            (Sip(64 << 10, 0.002), Serve(OK)),
            settings=PATIENT,
            **sends,
        )
        yield cell(
            READING,
            "junk" + form,
            "502 whole, closed",
            why,
            (ReadHead(), Send(b"\x00\x00"), Ended()),
            **fault("protocol", 502, lines="left"),
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
    yield cell(
        READING,
        "junk: no junk, an early answer",
        "403 whole, kept",
        why,
        (ReadHead(), Send(no), Ended()),
        lines="left",
        **pieces,
    )
    yield cell(
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
    yield cell(
        READING,
        "floods: a megabyte of early answer",
        "200 whole, kept",
        why,
        streams,
        lines="left",
        client=(*pieces["client"][:2], Answered(b"\r\n0\r\n\r\n"), *pieces["client"][3:]),
        codes={200: 1},
    )
    yield cell(READING, "resets: in an early answer", "200 cut, closed", CUT,
        (ReadHead(), Send(IN_LENGTH), Pause(0.1), Reset()), client=pieces["client"][:2],
        **fault("reset", 200, lines="own"))  # fmt: skip


def _before_the_answer() -> Iterator[Cell]:
    yield from _ends(THINKING, b"", {"closes": "502", "resets": "502", "stalls": "504"})
    yield cell(
        THINKING,
        "junk",
        "502 whole, kept",
        EARLY,
        (ReadRequest(), Send(b"\x16\x03\x03\x00\x01"), Ended()),
        **fault("protocol", 502, lines="left"),
    )
    yield cell(
        THINKING,
        "floods: empty lines",
        ("502 whole, kept", "504 whole, kept"),
        EARLY
        + "; empty lines are skipped, but not for ever: limit of the head or timeout, whichever is first",
        (ReadRequest(), Flood(b"\r\n" * 2048)),
        **fault("protocol", 502, lines="left"),
    )
    begun = b"HTTP/1.1 103 Early Hints\r\nlink: <x"
    yield from _ends(INTERIM, begun, {"closes": "502", "resets": "502", "stalls": "504"})
    yield cell(
        INTERIM, "drips", "200 whole, kept", SLOW,
        (ReadRequest(), Drip(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + OK, 0.003), Serve(OK)),
        settings=PATIENT,
    )  # fmt: skip
    yield cell(
        INTERIM,
        "junk: a status of 099",
        "502 whole, kept",
        EARLY,
        (ReadRequest(), Send(b"HTTP/1.1 099 Odd\r\n\r\n" + OK), Ended()),
        **fault("protocol", 502, lines="left"),
    )
    yield cell(
        INTERIM,
        "junk: a switch of protocols nobody asked for",
        "502 whole, kept",
        EARLY + "; RFC 9110 §15.2.2",
        (
            ReadRequest(),
            Send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            Ended(),
        ),
        **fault("protocol", 502, lines="left"),
    )
    yield cell(
        INTERIM,
        "floods: interim answers without an end",
        "504 whole, kept",
        EARLY + "; interim answers win no time",
        (ReadRequest(), Flood(b"HTTP/1.1 100 Continue\r\n\r\n", gap_s=0.005)),
        **fault("timeout", 504, lines="left"),
    )


def _ends(when: str, begun: bytes, codes: dict[str, str], **rest: Any) -> Iterator[Cell]:
    """Yield the three ways to stop before the head of the answer is complete."""
    deeds: dict[str, tuple[Step, str]] = {
        "closes": (Fin(), "reset"),
        "resets": (Reset(), "reset"),
        "stalls": (Ended(), "timeout"),
    }
    for what, (step, kind) in deeds.items():
        yield cell(
            when,
            what,
            f"{codes[what]} whole, kept",
            EARLY,
            (ReadRequest(), Send(begun), Pause(0.02), step),
            **fault(kind, int(codes[what]), lines="left" if what == "stalls" else "own"),
            **rest,
        )


def _in_the_head() -> Iterator[Cell]:
    yield from _ends(
        HEAD, b"HTTP/1.1 200 OK\r\ncontent-le", {"closes": "502", "resets": "502", "stalls": "504"}
    )
    yield cell(
        HEAD, "drips", "200 whole, kept", SLOW, (ReadRequest(), Drip(OK, 0.003), Serve(OK)), settings=PATIENT
    )
    heads = {
        "junk: a control byte": b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        "junk: two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        "junk: a length and chunks": CHUNKED[:-2] + b"content-length: 2\r\n\r\n0\r\n\r\n",
        "junk: HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "junk: no number for a status": b"HTTP/1.1 OK\r\n\r\n",
    }
    for what, data in heads.items():
        yield cell(
            HEAD,
            what,
            "502 whole, kept",
            EARLY,
            (ReadRequest(), Send(data), Ended()),
            **fault("protocol", 502, lines="left"),
        )
    floods: dict[str, Step] = {
        "floods: a long line": Flood(b"y" * 4096),
        "floods: many lines": Flood(b"x: y\r\n" * 500),
    }
    for what, step in floods.items():
        yield cell(
            HEAD,
            what,
            "502 whole, kept",
            EARLY + "; a head has at most 256 KiB",
            (ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nx: "), step),
            **fault("protocol", 502, lines="left"),
        )


BEFORE_CELLS: tuple[Cell, ...] = (
    *_connecting(),
    *_too_early(),
    *_reading(),
    *_before_the_answer(),
    *_in_the_head(),
)
