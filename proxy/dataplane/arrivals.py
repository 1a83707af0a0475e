"""When the pieces of a streamed answer came: noted for answers that are copied, and made sense of by the observer."""

from array import array

from proxy.exchange import MOST_ARRIVALS

__all__ = ["note_arrival"]

_MOST_NUMBERS = 2 * MOST_ARRIVALS


def note_arrival(arrivals: "array[int]", since_ns: int, size: int) -> None:
    """Note that ``size`` bytes of the body were there ``since_ns`` after the request's start.

    Args:
        arrivals: see :data:`proxy.exchange.MOST_ARRIVALS`.
        since_ns: 0 or more; the same for all that came in one read.
        size: of the body so far.
    """
    length = len(arrivals)
    if length and (arrivals[-2] == since_ns or length == _MOST_NUMBERS):
        arrivals[-2] = since_ns
        arrivals[-1] = size
    else:
        arrivals.append(since_ns)
        arrivals.append(size)
