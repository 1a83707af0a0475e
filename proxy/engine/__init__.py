"""What moves rollouts: evidence read, kept, judged, told.

The way of a look, twice a second (:mod:`~proxy.engine.deciding`): :mod:`~proxy.engine.readings` (what workers have
counted) → :mod:`~proxy.engine.ledger` (slices) in a :mod:`~proxy.engine.dossier` (one rollout's) →
:mod:`~proxy.engine.keeping` (on disk, by :mod:`~proxy.engine.store`) → :mod:`~proxy.engine.judging` (by
:mod:`proxy.rollout`) → the supervisor is asked, and :mod:`~proxy.engine.webhooks` tells. It runs in the observer's
process.
"""

__all__: list[str] = []
