"""What either side does in a tunnel: the deeds of both vocabularies once the protocol has been switched."""

from collections.abc import Iterator
from typing import Any

from tests.faults.cells import PATIENT, Cell
from tests.hostile.steps import (
    Answered,
    Drip,
    Ended,
    Fin,
    Flood,
    HoldReading,
    Pause,
    ReadHead,
    Reset,
    Script,
    Send,
    Shut,
    Sip,
)

__all__ = ["IN_A_TUNNEL", "TUNNEL_CELLS", "TUNNEL_NOT_CELLS"]

IN_A_TUNNEL = "in a tunnel"
TUNNEL_NOT_CELLS = {
    (IN_A_TUNNEL, "drips for ever"): "every byte is a sign of life: timeouts.tunnel begins anew"
}

ASKS = Send(b"GET /cell/infer HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
CONSENTS = Send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
IN = (ASKS, Answered(b"\r\n\r\n"))
OPENS = (ReadHead(), CONSENTS)
NOISE = b"\x16\x03\x01 GET / HTTP/1.1\r\n\r\n"
PASSES = "bytes pass as they are"
TOGETHER = "a tunnel has two ends: who loses one loses the other in the same way"
IDLE = "timeouts.tunnel: nothing moves"


def _cell(
    side: str, what: str, answer: str, why: str, client: Script, model: Script, lines: str, **rest: Any
) -> Cell:
    return Cell(
        side,
        IN_A_TUNNEL,
        what,
        answer,
        why,
        client=client,
        model=(model,),
        lines=lines,
        codes={101: 1},
        shadow_counts={"eligible": 0},
        settings=PATIENT,
        route={"upgrade": "[websocket]"},
        **rest,
    )


def _client_deeds() -> Iterator[Cell]:
    waits = (*OPENS, Ended())
    yield _cell("client", "leaves", "left", TOGETHER, (*IN, Fin()), waits, "left")
    yield _cell("client", "resets", "left", TOGETHER, (*IN, Reset()), waits, "left")
    bye = (*OPENS, Ended(), Send(b"bye"), Fin())
    half = "each direction ends alone"
    yield _cell("client", "shuts", "101 then 'bye', closed", half, (*IN, Shut()), bye, "own")
    yield _cell("client", "stalls", "101 then '', reset", IDLE, IN, waits, "left")
    hears = (*OPENS, Answered(b"ping"), Send(b"pong"), Fin())
    yield _cell(
        "client", "drips", "101 then 'pong', closed", PASSES, (*IN, Drip(b"ping", 0.05)), hears, "own"
    )
    noise = (*OPENS, Answered(NOISE), Send(b"pong"), Fin())
    yield _cell("client", "junk", "101 then 'pong', closed", PASSES, (*IN, Send(NOISE)), noise, "own")
    early = (ASKS, Send(b"ping"))
    why = "what a client sends before the consent waits for it"
    yield _cell(
        "client",
        "junk: before the consent",
        "101 then 'pong', closed",
        why,
        early,
        (ReadHead(), Pause(0.1), *hears[1:]),
        "own",
    )
    pours = (*OPENS, Flood(bytes(1 << 16), patience_s=8))
    takes_nothing = (HoldReading(), ASKS, Pause(2.5), Sip())
    yield _cell(
        "client",
        "floods: takes nothing of one",
        "101 then many bytes, reset",
        IDLE,
        takes_nothing,
        pours,
        "left",
        receive_bytes=4096,
    )


def _model_deeds() -> Iterator[Cell]:
    yield _cell("model", "closes", "101 then '', closed", TOGETHER, IN, (*OPENS, Pause(0.05), Fin()), "own")
    yield _cell("model", "resets", "101 then '', reset", TOGETHER, IN, (*OPENS, Pause(0.05), Reset()), "own")
    yield _cell(
        "model", "stalls", "101 then '', reset", IDLE, (*IN, Send(b"ping")), (*OPENS, Ended()), "left"
    )
    drips = (*OPENS, Drip(b"pong", 0.05), Fin())
    yield _cell("model", "drips", "101 then 'pong', closed", PASSES, IN, drips, "own")
    ok = "HTTP/1.1 200 OK\r\n\r\n"
    yield _cell(
        "model", "junk", f"101 then {ok!r}, closed", PASSES, IN, (*OPENS, Send(ok.encode()), Fin()), "own"
    )
    pours = (*OPENS, Flood(bytes(1 << 16), limit=8 << 20), Fin())
    yield _cell("model", "floods", "101 then many bytes, closed", PASSES, IN, pours, "own")


TUNNEL_CELLS: tuple[Cell, ...] = (*_client_deeds(), *_model_deeds())
