"""Why a record is kept: the sample, and the rules of ``log.keep``.

Pure: an exchange → the reasons, in the order of :data:`REASONS`.

Rules
    * ``sample``, ``errors`` and ``slow`` are the worker's word: it knows them when the request ends, and does not hand
      over an exchange that has none of them for their sake.
    * ``disagreement`` and ``when`` are found here, behind the comparison: who asks for them has every exchange handed
      over with its request (for ``disagreement``: every mirrored one).
    * A rule looks at the exchange, not at a draw: a record with any reason but ``sample`` would have been there for
      certain. Its probability is 1 before the budget.

The bound of ``when``
    An expression comes from the configuration, what it looks at from clients. A record whose bodies have more than
    :data:`MOST_CHARACTERS` is not looked at, and what an expression does with one is bounded in time and memory
    (:mod:`proxy.records.expressions`). Either counts as a failure of the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from proxy.exchange import Flag

__all__ = ["MOST_CHARACTERS", "REASONS", "SAMPLED", "Expression", "KeepRule", "Kept", "compile_keep_rule"]

REASONS: Final = ("sample", "errors", "slow", "disagreement", "when")
"""Every reason, in the order in which a record names those that it has."""

MOST_CHARACTERS: Final = 1 << 20
"""Of the bodies of a record, as they are written, that ``when`` is evaluated over."""

_FLAGS: Final = (("sample", Flag.LOGGED), ("errors", Flag.ERRORS), ("slow", Flag.SLOW))


class Kept(NamedTuple):
    """Why a record is there, and how likely the budget has let it be."""

    reasons: tuple[str, ...]
    """Some of :data:`REASONS`, in their order."""
    budget: float = 1.0
    """Probability of the budget's draw."""

    def inclusion(self, sample: float) -> float:
        """Return the probability of the record, where that of the sample is ``sample``."""
        return self.budget * (sample if self.reasons == ("sample",) else 1.0)


SAMPLED: Final = Kept(("sample",))


class Expression(Protocol):
    """A compiled expression."""

    def search(self, value: Any) -> Any:
        """Return what it says of ``value``."""


@dataclass(frozen=True, slots=True)
class KeepRule:
    """The compiled ``keep`` of a route, as far as it is not the worker's."""

    disagreement: bool = False
    when: tuple[Expression, ...] = ()

    def reasons(self, flags: int, *, disagrees: bool) -> list[str]:
        """Return why an exchange is kept, but for ``when``.

        Args:
            flags: of its primary.
            disagrees: some copy's answer was compared and disagrees.
        """
        found = [reason for reason, flag in _FLAGS if flags & flag]
        if disagrees and self.disagreement:
            found.append("disagreement")
        return found

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Tell whether an expression is true of ``record``: in JMESPath all is, but for null, false, ``""``, [], {}.

        Raises:
            ValueError: none is, and one could not be evaluated, or the record is too large.
        """
        if _characters(record) > MOST_CHARACTERS:
            raise ValueError(f"expected bodies of at most {MOST_CHARACTERS} characters")
        failure: Exception | None = None
        for expression in self.when:
            try:
                if _is_true(expression.search(record)):
                    return True
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                RecursionError,
                TypeError,
                ValueError,
            ) as error:
                failure = error  # the library's own errors are ValueErrors
        if failure is not None:
            raise ValueError(f"an expression of log.keep failed: {type(failure).__name__}") from failure
        return False


def compile_keep_rule(*, disagreement: bool, when: tuple[str, ...]) -> KeepRule:
    """Return the rule of a route.

    Args:
        disagreement: whether disagreements are kept.
        when: JMESPath expressions, which the settings have checked.
    """
    if not when:
        return KeepRule(disagreement)
    from proxy.records.expressions import BoundedExpression  # half a MiB that hardly anybody needs

    return KeepRule(disagreement, tuple(map(BoundedExpression, when)))


def _is_true(value: Any) -> bool:
    """Tell whether JMESPath takes ``value`` for true: unlike in Python, every number is."""
    return not (value is None or value is False or value in ("", [], {}))


def _characters(record: Mapping[str, Any]) -> int:
    parts = (record["request"], record["response"], *record["shadows"])
    return sum(len(part["body"] or "") for part in parts)
