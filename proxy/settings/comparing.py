"""How two answers are compared."""

from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final

import orjson

from proxy.methods import Boxes, Method
from proxy.schemas import ALLOWED, compile_schema
from proxy.settings import grammar
from proxy.settings.fields import NOW, Section, setting
from proxy.settings.grammar import Grammar
from proxy.settings.kinds import Attribute, Label, Name, Percent, Pointer

__all__ = ["Compare"]

_Class = Annotated[
    str, grammar.text(str, "a class as the model writes it, 1 to 64 characters", pattern=".+", longest=64)
]
_Cost = Annotated[float, grammar.real(0, 1)]


def _json_schema() -> Grammar:
    """Return the grammar of a JSON Schema, written as a mapping; read as JSON text."""

    def read(value: Any) -> str:
        if not isinstance(value, dict):
            raise ValueError(f"{ALLOWED}, as a mapping")
        text = orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS).decode()
        if len(text) > 65536:
            raise ValueError(f"{ALLOWED}, at most 64 KiB of JSON")
        compile_schema(text)
        return text

    return Grammar(read, lambda value: orjson.loads(value), ALLOWED, {"type": "object"})


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"expected what JSON can hold, got {type(value).__name__}")


_NO_RULE: Final = frozenset({"embedder", "examples", "excess", "labels", "noise", "slices"})
"""Keys that do not change how two answers are judged."""


class Compare(Section):
    """How a shadow's answer is compared with the one that the client got."""

    as_: Annotated[Method, grammar.choice(Method)] = setting(
        "auto",
        "exact: the same bytes; json: the same document, numbers within tolerance; classification: the same label; "
        "probabilities: the same first class, total variation within tolerance; regression: numbers within tolerance; "
        "tensor: every value within that of its datatype; ranking: the same top, the same first k; detection: boxes "
        "that overlap, with the same class; text: words, tool calls, form; embedding: the same direction; auto: what "
        "fits the answer; none: not at all, copies only put load on the shadow.",
        NOW,
        alias="as",
    )
    at: Label | None = setting(
        None,
        "Where that stands which is compared: a JSON pointer, or the name of an output tensor; '*' stands for any key "
        "or index; null: by convention.",
        NOW,
    )
    label: Label | None = setting(
        None,
        "detection: where the classes of the boxes stand; for the others the older name of at.",
        NOW,
    )
    score: Label | None = setting(None, "detection: where the scores of the boxes stand.", NOW)
    rtol: Annotated[float, grammar.real(0, 1)] | None = setting(
        None,
        "Relative tolerance: numbers agree when |a - b| <= atol + rtol * max(|a|, |b|); null: 1e-3 for regression, "
        "1e-5 in documents, 1e-4 for tensors of FP32 (FP64 1e-9, FP16 1e-2, BF16 2e-2).",
        NOW,
    )
    atol: Annotated[float, grammar.real(0, 1e12)] | None = setting(
        None,
        "Absolute tolerance, in the unit of the numbers that are compared; null: a millionth of scale, else 1e-8; for "
        "tensors as rtol.",
        NOW,
    )
    scale: Annotated[float, grammar.real(1e-300, 1e300)] | None = setting(
        None,
        "regression: how far apart numbers usually are, such as the interquartile range of the champion's; the "
        "distance is then |a - b| / scale; null: relative to the larger.",
        NOW,
    )
    tolerance: Annotated[float, grammar.real(0, 1)] | None = setting(
        None,
        "What still agrees: total variation of probabilities (null: 0.05), 1 - cosine of embeddings (0.01), "
        "1 - chrF2/100 of texts (0.4), share of the first k of a ranking (0), share of a row's values of a "
        "tensor (0).",
        NOW,
    )
    threshold: Annotated[float, grammar.real(0, 1)] | None = setting(
        None,
        "probabilities: the decision threshold, both answers must be on the same side; detection: boxes with a lower "
        "score do not count; null: none.",
        NOW,
    )
    k: Annotated[int, grammar.whole(1, 1000)] | None = setting(
        None, "ranking: the first k must hold the same items; null: 10.", NOW
    )
    iou: Annotated[float, grammar.real(0.01, 1)] | None = setting(
        None, "detection: least overlap (intersection over union) of two boxes that are one; null: 0.5.", NOW
    )
    boxes: Annotated[Boxes, grammar.choice(Boxes)] = setting(
        "xyxy",
        "detection: what the four numbers of a box are: two corners, a corner and width and height, the centre and "
        "width and height.",
        NOW,
    )
    schema_: Annotated[str, _json_schema()] | None = setting(
        None,
        "text: a JSON Schema; answers disagree when one fits it and the other does not; null: none.",
        NOW,
        alias="schema",
    )
    costs: Mapping[_Class, Mapping[_Class, _Cost]] = setting(
        {},
        "classification: what it costs to answer one class for another, 0 to 1: class that the client got, class that "
        "the shadow said; what is not listed costs 1, the right class nothing. The mean is the distance.",
        NOW,
        max_length=256,
    )
    ignore: tuple[Pointer, ...] = setting(
        [],
        "JSON pointers to what does not count; '*' stands for one key or index, '**' for any number of them.",
        NOW,
        max_length=256,
    )
    examples: Percent = setting(
        5,
        "Percent of the mirrored units whose requests go to the observer together with the answers, so that an "
        "example of a disagreement has its request beside it; 0: none.",
    )
    noise: Percent = setting(
        0,
        "Percent of the mirrored requests answered by the champion that go to the champion once more, so "
        "that its own noise is known, but for those with an idempotency-key; 0: none.",
    )
    excess: Percent = setting(
        0,
        "Percent by which a candidate may differ more often than the champion does from itself before that counts as "
        "more than noise.",
        NOW,
    )
    labels: Annotated[int, grammar.duration("1s", "168h")] | None = setting(
        None,
        "How long after a request its true answer may come (POST /api/v1/feedback with label or labels): so long what "
        "each model predicted is remembered, row by row; null: not at all.",
        NOW,
    )

    embedder: Annotated[bool, grammar.yes_or_no()] = setting(
        False,
        "text: ask the embedder how far texts are apart in meaning. What both models said is sent to it, redacted as "
        "log.redact says.",
        NOW,
    )

    slices: Mapping[Name, Attribute] = setting(
        {},
        "Attributes of requests by which disagreement is counted, each under a name. With any of them every compared "
        "request goes to the observer.",
        max_length=8,
    )

    @property
    def digest(self) -> str:
        """What decides how two answers are judged, as 16 hex digits: another rule has another digest."""
        unused = {"costs"} if not self.costs else set()  # a key that came later
        rule = self.model_dump_json(exclude={*_NO_RULE, *unused})
        return sha256(rule.encode()).hexdigest()[:16]
