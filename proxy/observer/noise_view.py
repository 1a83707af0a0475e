"""What is shown of how much a shadow differs beside how much the champion differs from itself. Pure."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final

from proxy.noise import NOT_MEASURED, Triples, judge, judge_fields, sentence
from proxy.observer.accounting import Accounts
from proxy.routing.table import Route, Shadow

__all__ = ["Fields", "noise_document", "noise_sentence"]

Fields = Mapping[str, Mapping[str, Sequence[int]]]
"""By what it is evidence for and by field, how often answers differed: see :class:`proxy.noise.fields.FieldCounts`."""

_LN10: Final = log(10)


def noise_document(route: Route, shadow: Shadow, total: Accounts, fields: Fields) -> dict[str, Any] | None:
    """Return how much more a shadow differs than the champion from itself; None where that is not asked."""
    if route.noise is None:
        return None
    tolerance = float(route.settings.compare.excess) / 100
    triples = total.triples.get((route.name, shadow.model.name), {}).get(shadow.stretch, Triples())
    judged = judge(triples, tolerance)
    return {
        "triples": judged.triples,
        **triples._asdict(),
        "candidate_rate": judged.candidate_rate,
        "noise_rate": judged.noise_rate,
        "excess": judged.excess,
        "low": judged.low,
        "high": judged.high,
        "evidence_log10": judged.log_e / _LN10,
        "is_more": judged.is_more,
        "sentence": sentence(judged),
        "fields": [each._asdict() for each in judge_fields(fields.get(shadow.stretch, {}), tolerance)],
    }


def noise_sentence(document: Mapping[str, Any] | None) -> str:
    """Return what is said of a shadow's disagreement in words, also where no noise is measured."""
    return NOT_MEASURED if document is None else str(document["sentence"])
