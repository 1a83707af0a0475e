"""The nouns of this room: what is compared, by which rule, and what came out.

Those that are made for each comparison are tuples: a frozen dataclass takes three times as long to make.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, overload

__all__ = [
    "DECODED_CAP_BYTES",
    "DIFFERENCE_LIMIT",
    "DISTANCE_BOUNDS",
    "Answer",
    "Choice",
    "Comparison",
    "Completion",
    "Confusion",
    "Difference",
    "Format",
    "Json",
    "Kind",
    "LateTensors",
    "Predicted",
    "Prediction",
    "Read",
    "Result",
    "Scores",
    "Tensor",
    "ToolCall",
    "Undecodable",
    "Usage",
]

Json: TypeAlias = Any
"""A value as a JSON parser gives it: dict, list, str, int, float, bool or None."""

Format: TypeAlias = Literal["oip_v2", "v1", "openai", "csv", "ndjson", "json", "text", "bytes"]
Kind: TypeAlias = Literal["int", "float", "bool", "bytes"]
Result: TypeAlias = Literal["agree", "disagree", "uncomparable"]
Confusion: TypeAlias = tuple[tuple[str, str, int], ...]
Scores: TypeAlias = tuple[tuple[str, float], ...]

DECODED_CAP_BYTES = 4 * 1024 * 1024
"""Cap of a body after its content-encoding was undone. Four times the default side copy: answers
compress better than that only when they are bombs, and `[],[],…` grows about 20-fold as objects."""

DIFFERENCE_LIMIT = 16
"""Differences kept per comparison; further ones are counted, not kept."""

DISTANCE_BOUNDS: tuple[float, ...] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0)
"""Upper bounds of the distance histogram: exact agreement has a bucket of its own, then float noise in
decades, then the range where a person would look."""


class Answer(NamedTuple):
    """A response as it came over the wire: nothing decoded yet."""

    status: int
    content_type: bytes | None
    content_encoding: bytes | None
    body: bytes
    truncated: bool = False
    """The body is only the head of what was sent: the side copy reached its cap."""
    inference_header_length: int | None = None
    """Value of ``Inference-Header-Content-Length``: bytes of JSON before binary tensors (OIP extension)."""
    is_assembled: bool = False
    """``body`` is not what was sent, but as JSON the answer in one piece that the pieces of a stream add up to."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Why no prediction could be read.

    Reasons: ``status`` (not 2xx), ``truncated``, ``unsupported_encoding``, ``unsupported_type`` (parts or frames
    that differ where the answer does not), ``bad_encoding``, ``decoded_too_large``, ``invalid_json``,
    ``bad_tensor`` (binary tensors that do not fit their header), ``stream_error`` (a stream of generated text with
    an error in it), ``cut`` (one without its end).
    """

    reason: str


class Tensor(NamedTuple):
    """One named output: row-major values, first dimension counts rows."""

    name: str
    datatype: str
    """As the Open Inference Protocol names it (``FP32``, ``INT64``, ``BYTES``); inferred for V1 answers."""
    kind: Kind
    shape: tuple[int, ...]
    data: list[Json]
    """Flat; a missing float is NaN."""
    rows: int
    """First dimension, 1 for a scalar."""
    width: int
    """Values per row."""
    classes: tuple[str, ...] | None = None
    """What the columns are called, when the answer says so (a map from class to probability)."""

    @property
    def source(self) -> str:
        """Where it came from: its name."""
        return self.name

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in ("float", "int")


class LateTensors(Sequence[Tensor]):
    """Tensors that are made when somebody looks: of most documents, nobody does."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], tuple[Tensor, ...]]) -> None:
        """Take what makes them; it is called at most once."""
        self._make = make
        self._made: tuple[Tensor, ...] | None = None

    def _all(self) -> tuple[Tensor, ...]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __iter__(self) -> Iterator[Tensor]:
        """Go through them in their order."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all())

    @overload
    def __getitem__(self, at: int) -> Tensor: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, at: int | slice) -> Tensor | tuple[Tensor, ...]:
        """Return one of them, or several."""
        return self._all()[at]

    def __eq__(self, other: object) -> bool:
        """They are what they hold: equal to a tuple of the same."""
        return self._all() == (other._all() if isinstance(other, LateTensors) else other)

    __hash__ = None  # type: ignore[assignment]  # their values are lists

    def __repr__(self) -> str:
        """Show what they hold."""
        return repr(self._all())


class ToolCall(NamedTuple):
    """A function that a model wants to have called."""

    name: str
    arguments: Json
    """Parsed where it is JSON, else the text."""


class Choice(NamedTuple):
    """One of the answers that a model generated side by side."""

    index: int  # type: ignore[assignment]  # tuples have a method of the name, which nobody needs here
    text: str
    finish_reason: str | None
    """Why it ended, in the service's word: ``stop``, ``length``, ``tool_calls``, ``end_turn``, …"""
    refusal: str | None
    """What the model said instead of an answer, where the service tells the two apart."""
    tool_calls: tuple[ToolCall, ...]


class Usage(NamedTuple):
    """Tokens that a model read and wrote, by its own count."""

    prompt_tokens: int | None
    completion_tokens: int | None


class Completion(NamedTuple):
    """What a generating model answered."""

    choices: tuple[Choice, ...]
    """In the order of their index."""
    usage: Usage | None
    is_streamed: bool
    """It came in pieces."""


class Prediction(NamedTuple):
    """What an answer says."""

    format: Format
    document: Json
    """The parsed JSON; ``str`` for text, ``bytes`` for anything else. Of a stream of generated text, what the service
    answers in one piece; of CSV and lines of JSON, the list of rows."""
    tensors: Sequence[Tensor] = ()
    """Outputs as named columns where the answer is regular enough to have them, else empty."""
    rows: int | None = None
    """Size of the batch, ``None`` when the answer does not tell. Of a completion, the number of choices."""
    completion: Completion | None = None
    """What the model generated, where that is what it does."""

    @property
    def is_json(self) -> bool:
        """Whether ``document`` is such as JSON holds, in any envelope."""
        return self.format not in ("text", "bytes")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two answers part.

    Values are raw parts of the bodies: whoever stores them must redact them like the bodies.
    """

    path: str
    """JSON pointer into the primary's answer (``json``), else ``/<tensor>/<row>``; ``""`` is all of it."""
    primary: str
    """The value as JSON text, cut to 80 characters; ``(missing)`` where there is none."""
    shadow: str

    def __post_init__(self) -> None:
        """Make each text one that UTF-8 has a form of: what a lone surrogate is in could be neither kept nor shown."""
        for name in ("path", "primary", "shadow"):
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, text.encode("utf-8", "replace").decode())


class Read(NamedTuple):
    """What a judge read of both answers, row by row: as it had it at hand, for :mod:`proxy.compare.rows` to put into
    words where somebody asks. It holds on to all values of both answers.
    """

    primary: Any
    """Of the method's own kind; ``None`` where rows have no value of their own."""
    shadow: Any
    """Likewise; ``None`` also where it has nothing to set beside the primary's."""
    wrong: Sequence[int] | None = None
    """Rows that disagree, ascending, all for the comparison's reason; ``None``: ``reasons`` tells."""
    reasons: Sequence[str | None] = ()
    """Of each row, ``None`` where it agrees."""
    distances: Sequence[float] = ()
    """Of each row, where the judge has one."""
    unit: float = 1.0
    """What ``distances`` are counted in."""

    def __eq__(self, other: object) -> bool:
        """Comparisons are equal when they say the same, whatever the judge still has at hand."""
        return other is None or isinstance(other, Read)

    def __ne__(self, other: object) -> bool:
        """Return the contrary."""
        return not self == other

    def __hash__(self) -> int:
        """Return the hash of every other."""
        return 0


class Predicted(NamedTuple):
    """What two answers predicted, row by row, as the method read it: what a label that comes later is held against."""

    primary: Sequence[Json] | None
    """A label (or number) for each row; None: no answer, or one that its client could not have read."""
    shadow: Sequence[Json] | None
    """Likewise; also None where it is of another number of rows."""
    is_number: bool
    """The closer the better; else right or wrong."""

    @property
    def rows(self) -> int:
        """Rows of the primary's, or of the shadow's where there are no others."""
        return len(self.shadow or ()) if self.primary is None else len(self.primary)


class Comparison(NamedTuple):
    """What came out of comparing a shadow's answer with the primary's."""

    result: Result
    distance: float | None
    """In [0, 1], finite; ``None`` when uncomparable. What it measures depends on the method."""
    reason: str | None
    """``None`` for agreement. The vocabulary is that of ``proxy.compare.verdicts``."""
    method: str
    """The method that judged; ``auto`` when the pair was settled before one could be picked."""
    rows: int
    """Rows compared; 1 for an answer that is not a batch, 0 when uncomparable."""
    rows_disagreeing: int
    differences: tuple[Difference, ...] = ()
    """The first `DIFFERENCE_LIMIT` of them, in document or row order."""
    confusion: Confusion = ()
    """How often which label of the primary's stood against which of the shadow's, the most frequent first; capped.
    Labels are raw parts of the bodies."""
    scores: Scores = ()
    """Secondary figures of the method, each finite: ``chrf``, ``overlap_at_k``, ``cosine``, ``max_abs``, …"""
    read: Read | None = None
    """What its rows say; ``None`` when uncomparable, or when no row in particular disagrees. Whoever keeps the
    comparison lets go of it."""
    predicted: Predicted | None = None
    """What of ``read`` a label that comes later is held against, to be kept: only where the rule asks for it and the
    method reads a label or a number. Raw parts of the bodies."""
