"""What clients do wrong: every deed at every moment, or the reason why that pair is none."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.cells import (
    ASK,
    BODY_LIMIT,
    BRIEF_S,
    CHUNKED,
    OK,
    PATIENT,
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
    Shut,
    Sip,
)

__all__ = ["CLIENT_CELLS", "CLIENT_DEEDS", "CLIENT_MOMENTS", "CLIENT_NOT_CELLS"]

CLIENT_DEEDS = ("leaves", "shuts", "resets", "stalls", "drips", "drips for ever", "junk", "floods")

CONNECTED = "connected"
HEAD = "in the head"
LENGTH = "in a body of known length"
CHUNKS = "in a chunked body"
TRAILER = "in the trailer"
WAITING = "waiting for the answer"
ANSWER = "in an answer of known length"
STREAM = "in a chunked answer"
BETWEEN = "between two requests"
LAST = "behind its last request"
CLIENT_MOMENTS = (CONNECTED, HEAD, LENGTH, CHUNKS, TRAILER, WAITING, ANSWER, STREAM, BETWEEN, LAST)

CLIENT_NOT_CELLS = {
    (CONNECTED, "drips"): "the first byte begins the head",
    (CONNECTED, "drips for ever"): "the first byte begins the head",
    (TRAILER, "drips for ever"): "ends at limits.head, as 'floods' does",
    (LENGTH, "junk"): "any byte is a byte of the body",
    (WAITING, "stalls"): "waiting is all it has to do",
    (LAST, "drips"): "nothing is read behind the last request: 'floods' shows it",
    (LAST, "drips for ever"): "nothing is read behind the last request: 'floods' shows it",
}

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
HEAD_LENGTH = request_head(b"content-length: 40")
HEAD_CHUNKED = request_head(b"transfer-encoding: chunked")
PART_OF_HEAD = HEAD_LENGTH[:30]
LAST_ASK = request_head(b"content-length: 4", b"connection: close") + b"body"
LARGE = 48 << 20
"""More than all buffers between model and client hold."""

THINKS: Script = (ReadHead(), Ended())
"""A model server that gets a request and never answers."""
SOON: Script = (ReadRequest(), Pause(0.2), Send(OK), Serve(OK))
HALF: Script = (ReadRequest(), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nhalf of it"), Ended())
HALF_STREAM: Script = (ReadRequest(), Send(CHUNKED + b"5\r\nevent\r\n"), Ended())
FIRST_HALF: Script = (
    ReadRequest(),
    Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst"),
    Pause(0.2),
    Send(b" half"),
    Serve(OK),
)
FIRST_EVENT: Script = (
    ReadRequest(),
    Send(CHUNKED + b"5\r\nevent\r\n"),
    Pause(0.2),
    Send(b"0\r\n\r\n"),
    Serve(OK),
)
POURS: Script = (
    ReadRequest(),
    Send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE),
    Flood(bytes(1 << 16), limit=LARGE),
    Ended(),
)
POURS_STREAM: Script = (
    ReadRequest(),
    Send(CHUNKED),
    Flood(b"4000\r\n" + bytes(0x4000) + b"\r\n", limit=LARGE),
    Ended(),
)

GONE = "the client left: nothing is answered, and the model's work is cancelled at once"
FINISHED = "what was asked in time is answered"


def _cell(when: str, what: str, answer: str | tuple[str, ...], why: str, *client: Any, **rest: Any) -> Cell:
    return Cell("client", when, what, answer, why, client=client, **rest)


def _departures(when: str, *before: Any, shut_answer: str = "none, closed", **rest: Any) -> Iterator[Cell]:
    """Yield the three ways to leave after the steps ``before``."""
    yield _cell(when, "leaves", "left", GONE, *before, Fin(), **rest)
    yield _cell(when, "resets", "left", GONE, *before, Reset(), **rest)
    yield _cell(when, "shuts", shut_answer, GONE + "; shutting is leaving", *before, Shut(), **rest)


def _nothing(**more: Any) -> dict[str, Any]:
    """Return the expectation of a cell whose route sees nothing."""
    return {"codes": {}, "lines": "", **more}


def _connected() -> Iterator[Cell]:
    yield from _departures(CONNECTED, **_nothing())
    yield _cell(
        CONNECTED,
        "stalls",
        "none, closed",
        "timeouts.client_head, and nothing was asked",
        Ended(),
        **_nothing(),
    )
    yield _cell(
        CONNECTED,
        "junk: a TLS hello",
        "400 whole, closed",
        "not HTTP",
        Send(TLS_HELLO),
        **_nothing(unrouted={400: 1}),
    )
    yield _cell(
        CONNECTED,
        "floods: empty lines",
        ("none, closed", "none, reset"),
        "RFC 9112 §2.2 lets some be skipped; timeouts.client_head bounds it. What is still unread makes it a reset",
        Flood(b"\r\n" * 512, gap_s=0.01, patience_s=3),
        **_nothing(),
    )


def _in_the_head() -> Iterator[Cell]:
    yield from _departures(HEAD, Send(PART_OF_HEAD), Pause(0.05), **_nothing())
    slow = "timeouts.client_head"
    yield _cell(HEAD, "stalls", "408 whole, closed", slow, Send(PART_OF_HEAD), **_nothing(unrouted={408: 1}))
    yield _cell(HEAD, "drips", "200 whole, kept", FINISHED, Drip(ASK, 0.002, 2))
    yield _cell(
        HEAD,
        "drips for ever: slowloris",
        "408 whole, closed",
        slow,
        Send(PART_OF_HEAD),
        Flood(b"y", gap_s=0.05, patience_s=4),
        **_nothing(unrouted={408: 1}),
    )
    refused = _nothing(unrouted={400: 1})
    yield _cell(
        HEAD, "junk", "400 whole, closed", "not HTTP", Send(HEAD_LENGTH[:-2] + b"\x00\x01\r\n\r\n"), **refused
    )
    large = _nothing(unrouted={431: 1})
    lines = [b"x-%d: y" % i for i in range(300)]
    long_line = request_head(b"x: " + b"y" * 100_000)
    yield _cell(
        HEAD, "floods: many lines", "431 whole, closed", "limits.headers", Send(request_head(*lines)), **large
    )
    yield _cell(HEAD, "floods: a long line", "431 whole, closed", "limits.head", Send(long_line), **large)
    yield _cell(
        HEAD,
        "floods: a long target",
        "414 whole, closed",
        "limits.head; RFC 9112 §3 has a status of its own for it",
        Send(b"GET /" + b"y" * 100_000),
        **_nothing(unrouted={414: 1}),
    )
    yield _cell(
        HEAD,
        "floods: without an end",
        ("431 whole, closed", "431 whole, reset"),
        "limits.head; it sends on for longer than is read away",
        Send(PART_OF_HEAD),
        Flood(b"y" * 4096, gap_s=0.001, patience_s=3),
        **large,
    )


def _in_a_body() -> Iterator[Cell]:
    cut: dict[str, Any] = {"model": (THINKS,), "settings": PATIENT, "lines": "left"}
    for when, start, junk in (
        (LENGTH, HEAD_LENGTH + b"part", b""),
        (CHUNKS, HEAD_CHUNKED + b"8\r\npart", b" of\r\nzz\r\n"),
        (TRAILER, HEAD_CHUNKED + b"4\r\npart\r\n0\r\nx-y", b"\x00: z\r\n\r\n"),
    ):
        yield from _departures(when, Send(start), Pause(0.05), codes={499: 1}, **cut)
        yield _cell(
            when, "stalls", "408 whole, closed", "timeouts.client_body", Send(start), codes={408: 1}, **cut
        )
        if junk:
            yield _cell(
                when,
                "junk",
                "400 whole, closed",
                "not HTTP",
                Send(start),
                Pause(0.1),
                Send(junk),
                codes={400: 1},
                **cut,
            )
    yield _cell(LENGTH, "drips", "200 whole, kept", FINISHED, Send(HEAD_LENGTH), Drip(b"b" * 40))
    yield _cell(
        CHUNKS,
        "drips",
        "200 whole, kept",
        FINISHED,
        Send(HEAD_CHUNKED),
        Drip(b"4\r\nbody\r\n1;a=b\r\nc\r\n0\r\n\r\n"),
    )
    yield _cell(
        TRAILER,
        "drips",
        "200 whole, kept",
        FINISHED,
        Send(HEAD_CHUNKED + b"4\r\nbody\r\n0\r\n"),
        Drip(b"x-y: z\r\n\r\n"),
    )
    yield from _endless_bodies(cut)
    yield from _lasting_bodies(cut)


def _lasting_bodies(cut: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield bodies each of whose gaps is short enough, that never end."""
    late: dict[str, Any] = {
        **cut,
        "codes": {504: 1},
        "faults": {"request_timeout": 1},
        "route": {"timeout": "1200ms"},
    }
    for when, start, piece in ((LENGTH, HEAD_LENGTH, b"b"), (CHUNKS, HEAD_CHUNKED, b"1\r\nb\r\n")):
        drips = Flood(piece, gap_s=0.15, patience_s=4)
        yield _cell(when, "drips for ever", "504 whole, closed", "routes.timeout", Send(start), drips, **late)


def _endless_bodies(cut: Mapping[str, Any]) -> Iterator[Cell]:
    declared = Send(request_head(b"content-length: %d" % (BODY_LIMIT + 1)))
    refused = _nothing(unrouted={413: 1})
    yield _cell(LENGTH, "floods: too long a length", "413 whole, closed", "limits.body", declared, **refused)
    pieces = Flood(b"10000\r\n" + bytes(65536) + b"\r\n", limit=BODY_LIMIT + (1 << 20))
    yield _cell(
        CHUNKS,
        "floods: too many chunks",
        "413 whole, closed",
        "limits.body",
        Send(HEAD_CHUNKED),
        pieces,
        codes={413: 1},
        **cut,
    )
    endless = Flood(b"y" * 4096, limit=256 << 10)
    for when, what, start in (
        (CHUNKS, "floods: a chunk extension", b"4;"),
        (TRAILER, "floods: a trailer line", b"4\r\nbody\r\n0\r\nx: "),
    ):
        yield _cell(
            when,
            what,
            "431 whole, closed",
            "limits.head",
            Send(HEAD_CHUNKED + start),
            Pause(0.1),
            endless,
            codes={431: 1},
            **cut,
        )
    many = Flood(b"x: y\r\n" * 100, limit=256 << 10)
    yield _cell(
        TRAILER,
        "floods: trailer lines",
        "431 whole, closed",
        "limits.head",
        Send(HEAD_CHUNKED + b"0\r\n"),
        Pause(0.1),
        many,
        codes={431: 1},
        **cut,
    )


def _waiting() -> Iterator[Cell]:
    yield from _departures(
        WAITING, Send(ASK), Pause(0.05), model=(THINKS,), settings=PATIENT, codes={499: 1}, lines="left"
    )
    yield from _unread()
    yield from _pipelined(WAITING, SOON, Send(ASK))


def _unread() -> Iterator[Cell]:
    """Yield who leaves when it is not read: a request of its waits for its turn."""
    for what, step in (("leaves", Fin()), ("resets", Reset())):
        steps = (Send(ASK * 2), Pause(0.05), step)
        yield _cell(
            WAITING,
            f"{what}: with another request behind",
            "left",
            GONE + "; within 2 s, as it is not read",
            *steps,
            model=(THINKS,),
            settings=PATIENT,
            codes={499: 1},
            lines="left",
            notice_s=2.5,
        )


def _pipelined(when: str, model: Script, *before: Any) -> Iterator[Cell]:
    """Yield what a client may do behind a request that is not answered yet."""
    both = {"model": (model,), "settings": PATIENT}
    second = "each in its turn"
    yield _cell(
        when,
        "drips",
        "200 whole, 200 whole, kept",
        second,
        *before,
        Drip(ASK, 0.002, 2),
        methods=2,
        codes={200: 2},
        **both,
    )
    yield _cell(
        when,
        "drips for ever",
        "200 whole, 408 whole, closed",
        "timeouts.client_head",
        *before,
        Send(PART_OF_HEAD),
        Flood(b"y", gap_s=0.05, patience_s=4),
        methods=2,
        unrouted={408: 1},
        **both,
    )
    yield _cell(
        when,
        "junk",
        "200 whole, 400 whole, closed",
        "what was asked before is answered before",
        *before,
        Send(TLS_HELLO + b"\r\n\r\n"),
        methods=2,
        unrouted={400: 1},
        **both,
    )
    yield _cell(
        when,
        "floods: 200 requests",
        ", ".join(["200 whole"] * 201 + ["kept"]),
        second,
        *before,
        Send(ASK * 200),
        methods=201,
        codes={200: 201},
        **both,
    )


def _in_the_answer() -> Iterator[Cell]:
    for when, half, first, pours in (
        (ANSWER, HALF, FIRST_HALF, POURS),
        (STREAM, HALF_STREAM, FIRST_EVENT, POURS_STREAM),
    ):
        begun = (Send(ASK), Answered(b"\r\n\r\n"))
        yield from _departures(
            when, *begun, shut_answer="200 cut, closed", model=(half,), settings=PATIENT, lines="left"
        )
        yield from _pipelined(when, first, *begun)
        takes = {"model": (pours,), "settings": PATIENT, "receive_bytes": 4096, "lines": "left"}
        yield _cell(
            when,
            "stalls",
            "200 cut, reset",
            "timeouts.client_body: it takes nothing",
            HoldReading(),
            Send(ASK),
            Pause(BRIEF_S * 4),
            Sip(),
            **takes,
        )
        yield _cell(
            when,
            "floods: takes nothing and asks on",
            "200 cut, reset",
            "timeouts.client_body: it takes nothing",
            HoldReading(),
            Send(ASK),
            Send(ASK * 200),
            Pause(BRIEF_S * 4),
            Sip(),
            **takes,
        )


def _slow_readers() -> Iterator[Cell]:
    size = 2 << 20
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    chunks = CHUNKED + (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 64 + b"0\r\n\r\n"
    for when, answer in ((ANSWER, whole), (STREAM, chunks)):
        yield _cell(
            when,
            "drips: takes it slowly",
            "200 whole, kept",
            "slow, but it takes",
            Sip(32 << 10, 0.005),
            Send(ASK),
            model=((Serve(answer),),),
            settings=PATIENT,
        )


def _between() -> Iterator[Cell]:
    served = (Send(ASK), Answered(b"ok"))
    yield from _departures(BETWEEN, *served, shut_answer="200 whole, closed")
    yield _cell(BETWEEN, "stalls", "200 whole, closed", "timeouts.keep_alive", *served, Ended(6))
    again = {"methods": 2, "codes": {200: 2}}
    yield _cell(
        BETWEEN, "drips", "200 whole, 200 whole, kept", FINISHED, *served, Drip(ASK, 0.002, 2), **again
    )
    for what, answer, why, code, sent in (
        (
            "drips for ever: slowloris",
            "408",
            "timeouts.client_head",
            408,
            Flood(b"y", gap_s=0.05, patience_s=4),
        ),
        ("junk", "400", "not HTTP", 400, Send(b"\x00\r\n\r\n")),
        ("floods: a long line", "431", "limits.head", 431, Send(b"y" * 100_000)),
    ):
        start = Send(PART_OF_HEAD if code != 400 else b"")
        yield _cell(
            BETWEEN,
            what,
            f"200 whole, {answer} whole, closed",
            why,
            *served,
            start,
            sent,
            methods=2,
            unrouted={code: 1},
        )


def _last() -> Iterator[Cell]:
    yield from _departures(
        LAST, Send(LAST_ASK), Pause(0.05), model=(THINKS,), settings=PATIENT, codes={499: 1}, lines="left"
    )
    why = "RFC 9112 §9.6: nothing behind it is read, and the answer is not destroyed by a reset"
    rest = {"model": (SOON,), "settings": PATIENT}
    yield _cell(LAST, "stalls", "200 whole, closed", "the proxy closes first", Send(LAST_ASK), **rest)
    yield _cell(LAST, "junk", "200 whole, closed", why, Send(LAST_ASK), Send(TLS_HELLO), **rest)
    flood = Flood(bytes(1 << 14), limit=1 << 20)
    yield _cell(LAST, "floods: a megabyte", "200 whole, closed", why, Send(LAST_ASK), flood, **rest)
    yield _cell(LAST, "floods: requests", "200 whole, closed", why, Send(LAST_ASK + ASK * 100), **rest)


CLIENT_CELLS: tuple[Cell, ...] = (
    *_connected(),
    *_in_the_head(),
    *_in_a_body(),
    *_waiting(),
    *_in_the_answer(),
    *_slow_readers(),
    *_between(),
    *_last(),
)
