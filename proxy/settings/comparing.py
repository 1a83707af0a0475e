"""How two answers are compared."""

from hashlib import sha256
from typing import Annotated, Final, Literal

from proxy.settings import grammar
from proxy.settings.fields import NOW, Section, setting
from proxy.settings.kinds import Label, Percent, Pointer

__all__ = ["Compare", "Method"]

Method = Literal["auto", "exact", "json", "classification", "regression", "none"]

_NO_RULE: Final = frozenset({"examples", "noise", "excess"})
"""Keys that do not change how two answers are judged."""


class Compare(Section):
    """How a shadow's answer is compared with the one that the client got."""

    as_: Annotated[Method, grammar.choice(Method)] = setting(
        "auto",
        "exact: the same bytes; json: the same document, numbers within tolerance; classification: the same "
        "label; regression: numbers within tolerance; auto: what fits the answer; none: not at all, copies only put "
        "load on the shadow.",
        NOW,
        alias="as",
    )
    rtol: Annotated[float, grammar.real(0, 1)] = setting(
        1e-5, "Relative tolerance: numbers agree when |a - b| <= atol + rtol * |b|.", NOW
    )
    atol: Annotated[float, grammar.real(0, 1e12)] = setting(
        1e-8, "Absolute tolerance, in the unit of the numbers that are compared.", NOW
    )
    ignore: tuple[Pointer, ...] = setting(
        [],
        "JSON pointers to what does not count; '*' stands for one key or index, '**' for any number of them.",
        NOW,
        max_length=256,
    )
    label: Label | None = setting(
        None,
        "Where the label stands: a JSON pointer, or the name of an output tensor; null: by convention.",
        NOW,
    )
    examples: Percent = setting(
        5,
        "Percent of the mirrored units whose requests go to the observer together with the answers, so that an example "
        "of a disagreement has its request beside it; 0: none.",
    )
    noise: Percent = setting(
        0,
        "Percent of the mirrored requests answered by the champion that go to the champion once more, so that its own "
        "noise is known; 0: none.",
    )
    excess: Percent = setting(
        0,
        "Percent by which a candidate may differ more often than the champion does from itself before that counts as "
        "more than noise.",
        NOW,
    )

    @property
    def digest(self) -> str:
        """What decides how two answers are judged, as 16 hex digits: another rule has another digest."""
        rule = self.model_dump_json(exclude=set(_NO_RULE))
        return sha256(rule.encode()).hexdigest()[:16]
