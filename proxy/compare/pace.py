"""When the pieces of a streamed answer came, and what it says → how fast the model wrote.

The worker notes of each read how much of the body was there by then; where an event ends in the body tells which read
brought it. Names follow OpenTelemetry's conventions for generative models (``gen_ai.server.time_to_first_token``,
``gen_ai.server.time_per_output_token``) and vLLM's metrics of the same names.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Final, NamedTuple

from proxy.compare.completions import read_completion
from proxy.compare.content import media_type
from proxy.compare.decode import cutter_of
from proxy.compare.streams import Assembled, assemble_body

__all__ = ["Pace", "measure_pace", "read_arrivals"]

_SECOND_NS: Final = 1_000_000_000
_PAIR_BYTES: Final = 16


class Pace(NamedTuple):
    """How fast an answer was generated, as it was seen where it was copied. Times in nanoseconds."""

    first_token_ns: int
    """From the complete request head (of a copy: from when it was sent) to the first part of what was generated."""
    last_token_ns: int
    """To the last part."""
    parts: int
    """Events with a part of what was generated."""
    tokens: int
    """Tokens by the model's own count, else ``parts``."""
    gap_p50_ns: int | None
    """Median time between two parts (nearest rank); ``None`` for a single one. Parts of one read have none between."""
    gap_p99_ns: int | None
    gap_max_ns: int | None
    is_partial: bool
    """Not all of it is known: gaps are those before the last arrival that was noted but one, or the copy was cut."""

    @property
    def per_token_ns(self) -> float | None:
        """Time per token after the first one; ``None`` where all came at once."""
        taken = self.last_token_ns - self.first_token_ns
        return taken / (self.tokens - 1) if self.tokens > 1 and taken > 0 else None

    @property
    def tokens_per_second(self) -> float | None:
        """Its inverse, per second."""
        per_token = self.per_token_ns
        return None if per_token is None else _SECOND_NS / per_token


def read_arrivals(blob: bytes) -> "tuple[array[int], array[int]]":
    """Return when pieces came (ns since the start, ascending) and how much of the body was there by then."""
    numbers = array("Q", blob[: len(blob) - len(blob) % _PAIR_BYTES])
    return numbers[::2], numbers[1::2]


def measure_pace(blob: bytes, body: bytes, content_type: bytes | None, *, limit: int) -> Pace | None:
    """Return how fast ``body`` was generated; ``None`` when it is no stream of generated text.

    Args:
        blob: arrivals, as a frame has them.
        body: the copy, as sent: of a compressed stream nobody knows which read brought what.
        content_type: header value, or None.
        limit: so many arrivals are noted at most, and then the last one is.
    """
    cut = cutter_of(media_type(content_type)[0])
    if cut is None or len(blob) < _PAIR_BYTES:
        return None
    assembled = assemble_body(body, cut, is_partial=True)
    if not isinstance(assembled, Assembled):
        return None
    times, sizes = read_arrivals(blob)
    came = [times[at] for end in assembled.ends if (at := bisect_left(sizes, end)) < len(times)]
    if not came:
        return None
    is_partial = len(times) >= limit
    known = [time for time in came if time < times[-1]] if is_partial else came
    gaps = sorted(after - before for before, after in pairwise(known))
    return Pace(
        came[0],
        came[-1],
        len(came),
        _tokens(assembled) or len(came),
        _quantile(gaps, 0.5),
        _quantile(gaps, 0.99),
        gaps[-1] if gaps else None,
        is_partial,
    )


def _tokens(assembled: Assembled) -> int | None:
    completion = read_completion(assembled.document, is_streamed=True)
    usage = None if completion is None else completion.usage
    return None if usage is None else usage.completion_tokens


def _quantile(ordered: Sequence[int], q: float) -> int | None:
    """Return the nearest-rank quantile of ascending values."""
    return ordered[ceil(q * len(ordered)) - 1] if ordered else None
