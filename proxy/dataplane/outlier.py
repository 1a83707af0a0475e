"""When is a server left out because of what became of requests, and for how long? Pure.

As Envoy's outlier detection decides it (``consecutive_gateway_errors``), with two differences: a server that comes
back is on trial, so that its next failure takes it out at once, and what it did is forgotten step by step while it
behaves.
"""

__all__ = ["MAX_MULTIPLE", "ejection_ns", "may_eject", "next_ejection"]

MAX_MULTIPLE = 10
"""The longest ejection is so many times the base (Envoy's defaults: 30 s and 300 s)."""


def may_eject(total: int, ejected: int, others_left: int, percent: float) -> bool:
    """Tell whether one more server may be left out.

    Args:
        total: servers of the model.
        ejected: those that are left out now.
        others_left: servers that would still get requests.
        percent: most percent of ``total`` that may be left out; one always may, unless it is 0.
    """
    if percent <= 0 or others_left < 1:
        return False
    return ejected < max(1, int(total * percent / 100))


def next_ejection(ejections: int, since_return_ns: int, base_ns: int) -> int:
    """Return which ejection in a row the next one is, from 1 up.

    Args:
        ejections: which one the last was; 0: there was none.
        since_return_ns: how long the server has been back; each ``base_ns`` of it makes up for one ejection.
        base_ns: the first ejection's length.
    """
    return max(0, ejections - since_return_ns // base_ns) + 1


def ejection_ns(ejections: int, base_ns: int) -> int:
    """Return how long the server is left out this time, in nanoseconds."""
    return base_ns * min(ejections, MAX_MULTIPLE)
