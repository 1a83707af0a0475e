"""Documents that can be told at sight to be nothing but documents.

``auto`` asks each of its methods in turn whether an answer is one of theirs, and most JSON is none's. Methods know
their own by names, but for vectors, which are long, and classes with their probabilities, which are tensors at once. So
of what has none of the names and nothing long in it none need be asked, and its tensors are never made.
"""

from typing import Final

from proxy.compare.boxes import BOX_NAMES, THING_NAMES
from proxy.compare.embeddings import UNIT_WIDTH
from proxy.compare.labels import CLASSIFIED_NAMES
from proxy.compare.rankings import RANKED_NAMES
from proxy.compare.values import LateTensors, Prediction
from proxy.compare.vectors import EMBEDDING_NAMES

__all__ = ["TELLING", "is_plain"]

TELLING: Final = frozenset(
    {*BOX_NAMES, *THING_NAMES, *RANKED_NAMES, *CLASSIFIED_NAMES, *EMBEDDING_NAMES},
)
"""Members by one of which a document tells that it may be more."""

_HOLDERS: Final = frozenset({list, dict})


def is_plain(prediction: Prediction) -> bool:
    """Whether the answer is a document of no method but ``json``; False where that is not known at sight."""
    document = prediction.document
    return (
        type(document) is dict
        and type(prediction.tensors) is LateTensors
        and document.keys().isdisjoint(TELLING)
        and not any(type(value) in _HOLDERS and len(value) >= UNIT_WIDTH for value in document.values())
    )
