"""The noise floor of a comparison: what a request says that the champion answered twice and the candidate once.

Rules
    * A *triple* is one request with three answers: P, the client's, by the champion; S, the champion's second; C, the
      candidate's. S and C are each compared with P, by the same rule.
    * A triple of which S or C came to no judgement says nothing, whichever of them it was: to leave out only one kind
      would choose by the answer. Nor does one of which S or C took longer than the shorter of their two timeouts
      (:func:`is_in_time`): each is left out by the same bound.
    * A triple whose client got no answer of the model (:func:`is_answer`) says nothing. An overloaded champion fails P
      and S alike, and C would be the odd one for as long as that lasts. Choosing by P is fair: the claim holds given P.
    * What is left out is counted.

Theory of operation
    The claim that is put to the test: *given the past, the request and P, the answers S and C could change places*;
    then the candidate differs from the champion as the champion does from itself. Under it each triple in which
    exactly one of the two differs from P (it is the *odd* one) is a fair coin, whatever the noise is, however it
    changes with the request or the hour, and whether or not the requests resemble each other. So is the question which
    of two unequal distances is the greater. No level of noise, no variance and no model of traffic enters
    (:func:`proxy.stats.paired.triples`).

    What makes S and C able to change places, and must therefore hold:

    * They are asked alike: both as marked copies, with the same head, timeout and treatment
      (:mod:`proxy.routing.noise`), neither retried.
    * Their order is drawn, for each request anew (:mod:`proxy.dataplane.order`): whoever is asked second may meet a
      busier machine.
    * No cache of answers is between. One in front of the champion makes S a copy of P, and every candidate that is as
      random as the champion is found out wrongly. It must be bypassed for copies (``x-modelproxy-shadow: 1`` marks
      them), or the model must be asked without it. A request with an ``idempotency-key`` goes to the champion only
      once (:func:`proxy.routing.choose.asks_twice`): to know the key is to have such a cache.

    Where P and S share what C does not (they reach the champion at the same time, so its servers may compute both in
    one batch; a load balancer may keep both on the one of its servers that differs from the rest), S resembles P more
    than another draw would, and what differs between machines counts as a difference of the models. Where S is kept
    away from the server of P, it resembles P less, and a difference is found later.

Users who come back
    A unit sends many requests, often the same ones. The coin of a triple is thrown by the models' own chance, anew for
    each request: given everything before, S and C can still change places. So requests may be counted one by one,
    where errors of sticky users may not (there the unit's coin is thrown once). This fails where a model remembers: a
    server that keeps its answers by prompt gives its first sample for ever. Where only the candidate does, it is the
    odd one for good wherever that sample was rare, and for one prompt that is asked a thousand times that looks like
    evidence. The remedy is that of above: no cache for copies, or one that is keyed by what is never repeated.

    A model without chance (temperature 0, a fixed seed, a classifier) throws no coin: S is P. Every difference of the
    candidate is then one of the models, and is found as such.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from proxy.compare.values import Comparison

__all__ = ["TRIPLE_FIELDS", "Triples", "is_answer", "is_in_time", "outcomes"]

Outcome: TypeAlias = Literal["same", "candidate", "champion", "both", "candidate_farther", "champion_farther"]


class Triples(NamedTuple):
    """Counts of triples. Each that says something is in one of the first four; the next two go by distance."""

    same: int = 0
    """Neither differs from the client's answer."""
    candidate: int = 0
    """Only the candidate's does."""
    champion: int = 0
    """Only the champion's second answer does."""
    both: int = 0
    candidate_farther: int = 0
    """The candidate's answer is farther from the client's than the champion's second one."""
    champion_farther: int = 0
    left_out: int = 0
    """S and C were asked, and nothing can be told."""

    @property
    def total(self) -> int:
        """Number of triples that say something."""
        return self.same + self.candidate + self.champion + self.both


TRIPLE_FIELDS: Final = Triples._fields

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500


def is_answer(status: int) -> bool:
    """Tell whether a status that the client got comes from the model, not from a server that could not ask it."""
    return 0 < status < _SERVER_ERRORS and status != _TOO_MANY_REQUESTS


def is_in_time(first_ns: int, second_ns: int, timeouts_ns: tuple[int, int]) -> bool:
    """Tell whether both copies took no longer than either might have: as if both had the shorter timeout.

    Who is given up has taken longer than its own timeout, so this is decided by how long each took alone, and by the
    same bound for both.
    """
    return max(first_ns, second_ns) <= min(timeouts_ns)


def outcomes(candidate: Comparison, second: Comparison) -> tuple[Outcome, ...]:
    """Return the counts that a triple adds one to: one of the first four, and one of the last two or neither.

    Args:
        candidate: the candidate's answer compared with the client's.
        second: the champion's second answer compared with the client's, by the same rule.

    Returns:
        Nothing, where either of them came to no judgement.
    """
    if "uncomparable" in (candidate.result, second.result):
        return ()
    odd: Outcome = _ODD[candidate.result == "disagree", second.result == "disagree"]
    first, other = candidate.distance, second.distance
    if first is None or other is None or first == other:
        return (odd,)
    return odd, "candidate_farther" if first > other else "champion_farther"


_ODD: Final[dict[tuple[bool, bool], Outcome]] = {
    (False, False): "same",
    (True, False): "candidate",
    (False, True): "champion",
    (True, True): "both",
}
