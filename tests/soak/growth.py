"""Whether something grows: a robust slope over samples of one process."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Growth", "Sample", "growth"]

FEW = 8
"""Fewer samples than this say nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    time_s: float
    role: str
    pid: int
    rss_bytes: int
    open_files: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one process from the end of the warm-up to the end of the traffic."""

    role: str
    seconds: float
    rss_bytes: float
    """Median of all samples."""
    rss_grown_bytes: float
    """Slope (Theil and Sen) times the time."""
    open_files: float
    open_files_grown: float


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs (Sen 1968): a few outliers do not move it."""
    x, y = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(x), k=1)
    apart = x[second] - x[first]
    usable = apart > 0
    return float(np.median((y[second] - y[first])[usable] / apart[usable]))


def growth(samples: Sequence[Sample]) -> list[Growth]:
    """Return the growth of each role whose process lived from the first sample to the last.

    A role that changed its process meanwhile, or was seen fewer than ``FEW`` times, is left out.
    """
    found = []
    for role in dict.fromkeys(sample.role for sample in samples):
        own = [sample for sample in samples if sample.role == role]
        if len({sample.pid for sample in own}) != 1 or len(own) < FEW:
            continue
        times = [sample.time_s for sample in own]
        seconds = times[-1] - times[0]
        rss = [float(sample.rss_bytes) for sample in own]
        files = [float(sample.open_files) for sample in own]
        found.append(
            Growth(
                role,
                seconds,
                float(np.median(rss)),
                _slope(times, rss) * seconds,
                float(np.median(files)),
                _slope(times, files) * seconds,
            )
        )
    return found
