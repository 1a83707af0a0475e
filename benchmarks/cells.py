"""What is measured, as data: cells of entrants and loads, and the goals that are held against them."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.contenders import PROGRAMS, Entrant
from benchmarks.open_loop import TURN_S
from benchmarks.payloads import CHAT, JSON_10K, SMALL, TENSOR, Payload

__all__ = ["CELLS", "GOALS", "Cell", "Goal", "Kind", "Load", "Models", "Plan", "Ref"]


class Kind(StrEnum):
    """How load is put on an entrant."""

    CLOSED = "closed"
    """Each connection sends when it has its answer: saturates a core, shows CPU per request and requests per second."""
    OPEN = "open"
    """A fixed rate, latencies from the moment each request was due; entrants take short turns."""
    STREAMS = "streams"
    """Streamed answers, events at a fixed rate."""
    IDLE = "idle"
    """Connections that say nothing."""


class Models(StrEnum):
    """Who plays the models."""

    SMALL = "small"
    """nginx: static answers of 115 bytes."""
    LARGE = "large"
    """``large_models``: as many bytes back as came."""
    STREAMS = "streams"
    """``streams``, which is also the load."""


@dataclass(frozen=True, slots=True)
class Load:
    """One load."""

    name: str
    kind: Kind = Kind.CLOSED
    payload: Payload = SMALL
    connections: int = 64
    rate: int = 0
    """Requests a second (open), events a second on each stream (streams)."""
    rounds: int | None = None
    """Rounds, where another number than usual is needed."""
    seconds: float = 0.0
    """For how long each entrant is asked at a fixed rate (open), in turns of half a second."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Entrants that are compared, under the loads that each of them gets once it is started."""

    name: str
    entrants: tuple[Entrant, ...]
    loads: tuple[Load, ...]
    models: Models = Models.SMALL
    quick: tuple[str, ...] = ()
    """Entrants that take part in a quick run."""
    quick_loads: tuple[str, ...] | None = None
    """Loads of a quick run; none given: all."""
    rounds: int | None = None
    """Rounds, where fewer do: memory does not vary."""

    @property
    def is_paired(self) -> bool:
        """Whether entrants take turns while all of them are there: not where what they hold in memory is measured."""
        return all(load.kind is not Kind.IDLE for load in self.loads)


USUAL_ROUNDS = 5
QUICK_TURNS_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    seconds: float = 2.0
    """Short, so that entrants are measured one right after the other."""
    most_rounds: int | None = None
    """None: as many as each load wants."""
    is_quick: bool = False

    def rounds(self, cell: Cell, load: Load) -> int:
        """Return how often each entrant of a cell gets a load."""
        wanted = load.rounds or cell.rounds or USUAL_ROUNDS
        if self.is_quick and load.kind is not Kind.CLOSED:
            return 1  # the time goes to what saturates
        return wanted if self.most_rounds is None else min(wanted, self.most_rounds)

    def turns(self, load: Load) -> tuple[int, int]:
        """Return how many turns each entrant gets at a fixed rate, and in how many blocks they are told."""
        part = 1.0 if self.most_rounds is None else min(1.0, self.most_rounds / USUAL_ROUNDS)
        seconds = QUICK_TURNS_S if self.is_quick else load.seconds * part
        turns = max(USUAL_ROUNDS, round(seconds / TURN_S))
        return turns, 1 if self.is_quick else USUAL_ROUNDS


@dataclass(frozen=True, slots=True)
class Ref:
    """One figure of one entrant under one load."""

    cell: str
    load: str
    entrant: str
    figure: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A sentence and its limit: ``ours`` ÷ ``theirs`` within a round, or ``ours`` alone."""

    text: str
    limit: float
    ours: Ref
    theirs: Ref | None = None
    is_least: bool = False
    """Whether the limit is a lower one."""
    unit: str = ""


def entrants(*names: str) -> tuple[Entrant, ...]:
    """Return entrants by the name they have in a table."""
    made = []
    for name in names:
        program, _, flavour = name.partition(", ")
        made.append(Entrant(PROGRAMS[program], flavour or "split"))
    return tuple(made)


def alike(flavour: str, *names: str) -> tuple[Entrant, ...]:
    """Return programs that are all in one flavour."""
    return tuple(Entrant(PROGRAMS[name], flavour) for name in names)


PROXIES = ("modelproxy", "HAProxy", "nginx", "Envoy", "Traefik", "aiohttp")
SMALL_64 = Load("64 connections")
SMALL_1024 = Load("1,024 connections", connections=1024, rounds=3)
BODY_10K = Load("10 KiB JSON each way", payload=JSON_10K, rounds=3)
BODY_1M = Load("1 MiB tensor each way", payload=TENSOR, connections=16, rounds=3)
STEADY = Load("5,000 requests/s", Kind.OPEN, rate=5000, seconds=12)
SHADOWED = Load("2,000 requests/s", Kind.OPEN, rate=2000, seconds=30)
OBSERVED = Load("1,000 requests/s of 10 KiB", Kind.OPEN, JSON_10K, rate=1000, seconds=30)
STREAMS = Load("1,000 streams × 50 events/s", Kind.STREAMS, connections=1000, rate=50, rounds=3)
CALM_STREAMS = Load("1,000 streams × 25 events/s", Kind.STREAMS, connections=1000, rate=25, rounds=3)
IDLE = Load("10,000 idle connections", Kind.IDLE, connections=10_000)
TALK = Load("16 connections", payload=CHAT, connections=16)

SPLIT = "small requests, split"
FEATURES = "small requests, split, and more"
MIRROR = "small requests, split, mirror 100 %"
BODIES = "bodies, split"
SSE = "streamed answers, split"
TLS = "small requests, split, TLS to clients"
WORKERS = "workers"
CHATTING = "OpenAI's dialect"
LATENCY = "latency at a fixed rate, split"
RESTING = "idle connections"
SHADOWS = "what a bad shadow does to clients"
OBSERVING = "what a busy observer does to clients"

CELLS = (
    Cell(
        SPLIT, alike("split", *PROXIES), (SMALL_64, SMALL_1024), quick=PROXIES, quick_loads=(SMALL_64.name,)
    ),
    Cell(
        MIRROR,
        (
            *alike("mirror", "modelproxy"),
            *entrants("modelproxy, mirror and compare", "modelproxy, everything"),
            *alike("mirror", "nginx", "Envoy", "Traefik", "aiohttp"),
        ),
        (SMALL_64,),
        quick=(
            "modelproxy",
            "modelproxy, mirror and compare",
            "modelproxy, everything",
            "nginx",
            "Envoy",
            "aiohttp",
        ),
    ),
    Cell(FEATURES, entrants("modelproxy", "modelproxy, log 5 %"), (SMALL_64,), rounds=2),
    Cell(
        BODIES,
        alike("split", *PROXIES),
        (BODY_10K, BODY_1M),
        Models.LARGE,
        quick=("modelproxy", "HAProxy", "Envoy"),
        quick_loads=(BODY_1M.name,),
    ),
    Cell(
        SSE,
        alike("split", "no proxy", *PROXIES),
        (CALM_STREAMS, STREAMS),
        Models.STREAMS,
        quick=("no proxy", "modelproxy", "Envoy"),
    ),
    Cell(
        LATENCY,
        alike("split", "no proxy", *PROXIES),
        (STEADY,),
        quick=("no proxy", "modelproxy", "HAProxy", "Envoy"),
    ),
    Cell(TLS, alike("TLS", *PROXIES), (SMALL_64,), rounds=2),
    Cell(
        WORKERS,
        tuple(
            Entrant(PROGRAMS[name], flavour, 2)
            for name in ("modelproxy", "HAProxy")
            for flavour in ("1 worker", "2 workers")
        ),
        (SMALL_64,),
        quick=("modelproxy, 1 worker", "modelproxy, 2 workers"),
    ),
    Cell(CHATTING, alike("chat", "modelproxy", "LiteLLM"), (TALK,), rounds=2),
    Cell(
        RESTING,
        alike("split", "modelproxy", "HAProxy", "nginx", "Envoy"),
        (IDLE,),
        rounds=1,
        quick=("modelproxy",),
    ),
    Cell(
        SHADOWS,
        entrants(
            "modelproxy, no shadow",
            "modelproxy, dead shadow",
            "modelproxy, shadow of 10 s",
            "modelproxy, shadow of 100 MiB",
        ),
        (SHADOWED,),
        quick=(
            "modelproxy, no shadow",
            "modelproxy, dead shadow",
            "modelproxy, shadow of 10 s",
            "modelproxy, shadow of 100 MiB",
        ),
    ),
    Cell(
        OBSERVING,
        entrants("modelproxy, observer idle", "modelproxy, observer saturated"),
        (OBSERVED,),
        Models.LARGE,
        quick=("modelproxy, observer idle", "modelproxy, observer saturated"),
    ),
)


def ratio(text: str, limit: float, cell: str, load: Load, ours: str, theirs: str, figure: str) -> Goal:
    """Return a goal on the same figure of two entrants."""
    return Goal(text, limit, Ref(cell, load.name, ours, figure), Ref(cell, load.name, theirs, figure))


GOALS = (
    ratio(
        "small, split, all metrics on: hot process / HAProxy's",
        1.25, SPLIT, SMALL_64, "modelproxy", "HAProxy", "hot_us",
    ),
    ratio("the same / Envoy's", 0.60, SPLIT, SMALL_64, "modelproxy", "Envoy", "hot_us"),
    ratio("mirror 100 %: hot process / Envoy's mirror", 0.50, MIRROR, SMALL_64, "modelproxy", "Envoy", "hot_us"),
    ratio("the same / nginx's mirror", 0.40, MIRROR, SMALL_64, "modelproxy", "nginx", "hot_us"),
    ratio(
        "mirror, compare, log 5 %, rollout: whole tree / Envoy's mirror alone",
        1.0, MIRROR, SMALL_64, "modelproxy, everything", "Envoy", "tree_us",
    ),
    ratio("OpenAI's dialect: whole tree / LiteLLM", 0.02, CHATTING, TALK, "modelproxy", "LiteLLM", "tree_us"),
    ratio("1 MiB each way: whole tree / HAProxy", 1.0, BODIES, BODY_1M, "modelproxy", "HAProxy", "tree_us"),
    ratio(
        "streams, 25,000 events/s: whole tree per event / Envoy",
        0.8, SSE, CALM_STREAMS, "modelproxy", "Envoy", "tree_us",
    ),
    ratio(
        "the same at 50,000 events/s, where Envoy is late and reads several at once",
        0.8, SSE, STREAMS, "modelproxy", "Envoy", "tree_us",
    ),
    Goal(
        "streams: added delay of an event, 99 %, at 50,000 events/s",
        1.0, Ref(SSE, STREAMS.name, "modelproxy", "added_p99_ms"), unit="ms",
    ),
    ratio(
        "added latency at 5,000 requests/s, 50 % / Envoy's",
        1.0, LATENCY, STEADY, "modelproxy", "Envoy", "added_p50_ms",
    ),
    ratio("the same, 99 %", 1.0, LATENCY, STEADY, "modelproxy", "Envoy", "added_p99_ms"),
    Goal(
        "memory of an idle connection",
        8.0, Ref(RESTING, IDLE.name, "modelproxy", "idle_kib"), unit="KiB",
    ),
    Goal("memory of a worker at rest", 60.0, Ref(RESTING, IDLE.name, "modelproxy", "rest_mib"), unit="MiB"),
    *(
        ratio(
            f"{kind}: clients' 99 % / without a shadow",
            1.05, SHADOWS, SHADOWED, f"modelproxy, {kind}", "modelproxy, no shadow", "p99_ms",
        )
        for kind in ("dead shadow", "shadow of 10 s", "shadow of 100 MiB")
    ),
    ratio(
        "observer saturated, mirror 100 % and compare: clients' 99 % / observer idle",
        1.05, OBSERVING, OBSERVED, "modelproxy, observer saturated", "modelproxy, observer idle", "p99_ms",
    ),
)  # fmt: skip
"""Two are not here, for they look at more than one cell or at the machine: see :mod:`benchmarks.goals`."""
