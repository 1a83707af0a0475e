"""Which request comes next: a pure function of the seed and a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

import mmh3

__all__ = ["FORCE_SECRET", "SHARES", "Kind", "Order", "order", "predicted_label"]

FORCE_SECRET = "soak-force-secret"
LARGE_BYTES = 1024 * 1024
USERS = 500


class Kind(StrEnum):
    """What a client does, and what it asks the model to do."""

    SMALL = "small"
    BODY_UNIT = "body-unit"
    FORCED = "forced"
    LARGE_UP = "large-up"
    LARGE_DOWN = "large-down"
    CHUNKED = "chunked"
    SSE = "sse"
    HEAD = "head"
    NO_CONTENT = "no-content"
    NOT_MODIFIED = "not-modified"
    PIPELINED = "pipelined"
    SLOW_SEND = "slow-send"
    SLOW_READ = "slow-read"
    FRESH = "fresh"
    """A connection of its own, closed after the answer."""
    ERROR = "error"
    """The model answers with an error: that is an answer."""
    CUT = "cut"
    """The model ends its answer before it is whole."""
    RESET = "reset"
    """The model ends the connection without an answer."""
    GARBAGE = "garbage"
    """The model answers something that is not HTTP."""
    STALL = "stall"
    """The model never answers."""
    LEAVE_WAIT = "leave-wait"
    LEAVE_STREAM = "leave-stream"
    LEAVE_UPLOAD = "leave-upload"
    TUNNEL = "tunnel"
    """A switch of protocols: what is sent comes back."""
    UNROUTED = "unrouted"
    JUNK = "junk"
    """What the client sends is not HTTP."""


SHARES: Mapping[Kind, int] = {
    Kind.SMALL: 380,
    Kind.BODY_UNIT: 60,
    Kind.FORCED: 30,
    Kind.LARGE_UP: 15,
    Kind.LARGE_DOWN: 15,
    Kind.CHUNKED: 50,
    Kind.SSE: 50,
    Kind.HEAD: 30,
    Kind.NO_CONTENT: 25,
    Kind.NOT_MODIFIED: 15,
    Kind.PIPELINED: 60,
    Kind.SLOW_SEND: 15,
    Kind.SLOW_READ: 6,
    Kind.FRESH: 40,
    Kind.ERROR: 40,
    Kind.CUT: 20,
    Kind.RESET: 15,
    Kind.GARBAGE: 10,
    Kind.STALL: 6,
    Kind.LEAVE_WAIT: 20,
    Kind.LEAVE_STREAM: 15,
    Kind.LEAVE_UPLOAD: 8,
    Kind.TUNNEL: 20,
    Kind.UNROUTED: 15,
    Kind.JUNK: 8,
}
"""Of a thousand requests, about so many are of each kind."""

_KINDS = tuple(SHARES)
_UP_TO = tuple(accumulate(SHARES.values()))

ERRORS = (400, 404, 409, 429, 500, 503)
VARIANTS = ("v1", "v2", "v3")


_GOTTEN = (Kind.LARGE_DOWN, Kind.NOT_MODIFIED, Kind.SLOW_READ, Kind.TUNNEL)


@dataclass(frozen=True, slots=True)
class Order:
    """One request to be made."""

    number: int
    kind: Kind
    user: str
    luck: int
    """32 bits for whatever else is to be chosen."""
    size: int
    """Bytes of the request's body."""
    pause_s: float
    """Time to think before it."""

    @property
    def identity(self) -> str:
        """The request id."""
        return f"soak-{self.number:07d}"

    @property
    def is_flaky(self) -> bool:
        """Tell whether it goes to the model that nobody mirrors and no restart disturbs."""
        return self.kind in (Kind.GARBAGE, Kind.STALL) or (
            self.kind in (Kind.CUT, Kind.RESET) and self.luck % 2 == 0
        )

    @property
    def path(self) -> str:
        """The request's target."""
        if self.kind is Kind.UNROUTED:
            return f"/nowhere/{self.number}"
        if self.is_flaky:
            return "/flaky/infer"
        return "/v1/chat/completions" if self.kind is Kind.BODY_UNIT else "/v2/models/wine/infer"

    @property
    def route(self) -> str:
        """The route that takes it."""
        if self.kind in (Kind.UNROUTED, Kind.JUNK):
            return ""
        if self.is_flaky:
            return "flaky"
        return "chat" if self.kind is Kind.BODY_UNIT else "wine"

    @property
    def method(self) -> str:
        """The request's method."""
        if self.kind is Kind.HEAD:
            return "HEAD"
        return "GET" if self.kind in _GOTTEN else "POST"

    @property
    def forced(self) -> str:
        """The variant it insists on; empty for none."""
        return VARIANTS[self.luck % 3] if self.kind is Kind.FORCED else ""

    @property
    def status(self) -> int:
        """The status of a right answer; 0: there is none, because the client leaves."""
        return {
            Kind.TUNNEL: 101,
            Kind.NO_CONTENT: 204,
            Kind.NOT_MODIFIED: 304,
            Kind.ERROR: ERRORS[self.luck % len(ERRORS)],
            Kind.RESET: 502,
            Kind.GARBAGE: 502,
            Kind.STALL: 504,
            Kind.UNROUTED: 404,
            Kind.JUNK: 400,
            Kind.LEAVE_WAIT: 0,
            Kind.LEAVE_STREAM: 0,
            Kind.LEAVE_UPLOAD: 0,
        }.get(self.kind, 200)

    @property
    def tunnelled(self) -> int:
        """Bytes that the client sends through its tunnel."""
        return 100 + self.luck % 100_000 if self.kind is Kind.TUNNEL else 0

    @property
    def leaves(self) -> bool:
        """Tell whether the client leaves before the end."""
        return self.kind in (Kind.LEAVE_WAIT, Kind.LEAVE_STREAM, Kind.LEAVE_UPLOAD)

    @property
    def asks(self) -> dict[str, str]:
        """What the model is told to do, as header fields."""
        match self.kind:
            case Kind.LARGE_DOWN | Kind.SLOW_READ:
                return {"x-do": "bytes", "x-size": str(LARGE_BYTES)}
            case Kind.TUNNEL:
                return {"x-do": "echo", "connection": "upgrade", "upgrade": "websocket"}
            case Kind.CUT:
                return {"x-do": "cut", "x-size": str(2000 + self.luck % 60_000)}
            case Kind.SSE:
                return {"x-do": "events", "x-size": str(3 + self.luck % 10), "x-gap-ms": str(self.luck % 12)}
            case Kind.LEAVE_STREAM:
                return {"x-do": "events", "x-size": "400", "x-gap-ms": "10"}
            case Kind.LEAVE_WAIT:
                return {"x-do": "label", "x-wait-ms": "1500"}
            case Kind.RESET | Kind.GARBAGE | Kind.STALL:
                return {"x-do": self.kind.value}
            case Kind.NO_CONTENT | Kind.NOT_MODIFIED | Kind.ERROR:
                return {"x-do": "status", "x-size": str(self.status)}
            case _:
                return {"x-do": "label", "x-wait-ms": str(self.luck % 4)}


def _kind(draw: int) -> Kind:
    place = draw % _UP_TO[-1]
    return next(kind for kind, end in zip(_KINDS, _UP_TO, strict=True) if place < end)


def _size(kind: Kind, luck: int) -> int:
    if kind in (Kind.LARGE_UP, Kind.LEAVE_UPLOAD):
        return LARGE_BYTES - luck % 7
    if kind in (Kind.CHUNKED, Kind.SLOW_SEND):
        return 1 + luck % 200_000
    return 0 if kind in (*_GOTTEN, Kind.HEAD, Kind.UNROUTED, Kind.JUNK) else 60 + luck % 400


def order(seed: int, number: int) -> Order:
    """Return request ``number`` of the run with this ``seed``."""
    draw, more = mmh3.hash64(f"{seed}:{number}", signed=False)
    kind = _kind(draw >> 32)
    luck = more & 0xFFFFFFFF
    user = f"user-{(more >> 32) % USERS}"
    return Order(number, kind, user, luck, _size(kind, luck), (draw & 0xFFFF) / 0xFFFF)


def predicted_label(model: str, identity: str) -> int:
    """Return what ``model`` answers: all models agree, but for the shadow on about one request in seven."""
    drawn = int(mmh3.hash(identity, signed=False))
    return drawn % 10 + (model == "shade" and drawn % 7 == 0)
