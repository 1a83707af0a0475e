"""The JSON that reports are written from, as the admin address and the state directory give it.

Read with tolerance: a field that is missing has no value, one that is new is left out; what is of another kind is
refused. Of a figure that is infinite JSON holds ``null``.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from proxy.errors import ProxyError

__all__ = [
    "Decided",
    "DocumentError",
    "Epoch",
    "Line",
    "Point",
    "PointGuardrail",
    "Rollout",
    "Said",
    "Variant",
]


class DocumentError(ProxyError):
    """What was read is no evidence of a rollout."""


def _minus_infinite(value: Any) -> Any:
    return float("-inf") if value is None else value


def _infinite(value: Any) -> Any:
    return float("inf") if value is None else value


LogE = Annotated[float, BeforeValidator(_minus_infinite)]
High = Annotated[float, BeforeValidator(_infinite)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class PointGuardrail(_Document):
    """One guardrail at one moment; evidence as powers of ten."""

    harm: LogE = 0.0
    suspicion: LogE = 0.0
    noninferiority: LogE = 0.0
    low: float = 0.0
    high: High = float("inf")
    canary_ns: tuple[int, ...] = ()
    champion_ns: tuple[int, ...] = ()
    """p50, p95 and p99 of the epoch so far; of latency alone."""


class Point(_Document):
    """One moment of the plots."""

    now_ns: int
    phase: str = ""
    weight: float = 0.0
    harm: LogE = 0.0
    allocation: LogE = 0.0
    canary_requests: int = 0
    champion_requests: int = 0
    guardrails: dict[str, PointGuardrail] = {}


class Decided(_Document):
    """A decision, as it was written down."""

    verdict: str
    reason: str = ""
    action: str | None = None
    phase: str = ""
    weight: float = 0.0
    weight_now: float = 0.0
    sentence: str = ""
    needs: tuple[dict[str, Any], ...] = ()
    would: str = ""
    dry_run: bool = False
    log_e: dict[str, LogE] = {}
    confidence: dict[str, tuple[float, High]] = {}
    blamed: tuple[str, ...] = ()
    requests_exposed: int = 0
    units_exposed: int = 0


class Said(_Document):
    """A decision with its place in the store."""

    number: int
    rollout: str
    engine_ns: int
    moves: bool
    evidence: str
    """Digest of the snapshot."""
    decision: Decided
    raw: dict[str, Any] = {}
    """The decision as it stands there, byte for byte once written canonically."""


class Variant(_Document):
    """What was counted for one variant in one epoch."""

    name: str
    share: float
    requests: int = 0
    units: int = 0
    errors: int = 0
    client_errors: int = 0
    abandoned: int = 0
    latency: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """Buckets that hold something, and how much."""


class Epoch(_Document):
    """A stretch of constant shares."""

    epoch: str
    first_ns: int = 0
    variants: tuple[Variant, ...] = ()


class Line(_Document):
    """A line of the journal about the route."""

    ts: str
    event: str
    by: str = ""
    rollout: str = ""
    verdict: str = ""
    reason: str = ""
    sentence: str = ""
    phase: str = ""
    sequence: int = 0
    from_weight: float | None = None
    to_weight: float | None = None
    evidence: str = ""
    version: int = 0
    digest: str = ""
    changes: tuple[str, ...] = ()
    is_cut: bool = False
    log_e: dict[str, LogE] = {}


class Rollout(_Document):
    """Everything that is known about one rollout, or one split by fixed weights."""

    rollout: str
    variant: str = ""
    champion: str = ""
    read_ns: int = 0
    kept: bool = True
    problem: str = ""
    plan: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    judged_ns: int = 0
    guardrails: tuple[dict[str, Any], ...] = ()
    points: tuple[Point, ...] = ()
    decisions: tuple[Said, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    history: tuple[Line, ...] = ()
    harm_log10_e: LogE = 0.0
    allocation_log10_e: LogE = 0.0
    problems: tuple[str, ...] = ()
    canary_units: int = 0
    champion_units: int = 0
    canary_requests: int = 0
    champion_requests: int = 0
    request_rate: float = 0.0
    excess_errors: float = 0.0
    shadow: dict[str, int] = {}

    @classmethod
    def read(cls, document: Any) -> "Rollout":
        """Return the evidence in a document.

        Raises:
            DocumentError: it is none.
        """
        if not isinstance(document, dict):
            raise DocumentError("expected the evidence of a rollout, got something else")
        said = [
            {**each, "raw": each.get("decision", {})} if isinstance(each, dict) else each
            for each in document.get("decisions", ())
        ]
        try:
            return cls.model_validate({**document, "decisions": said})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise DocumentError(
                f"expected the evidence of a rollout; {place}: {first['msg'].lower()}"
            ) from error
