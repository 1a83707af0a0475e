"""Real models on real scans: what each demo server trains when it starts.

The data is the handwritten-digits set that ships inside scikit-learn (1,797 scans of 8×8 pixels, each 0..16).
Half of it trains the models, the other half is never seen in training and is the traffic.

Two of them carry defects that ship every week somewhere. The training pipeline of ``skewed`` began to scale the
pixels to 0..32 while the serving side still sends 0..16 (training-serving skew): it answers quickly, with status
200, and wrongly. ``broken`` looks at the part of a scan left of its blank columns, and takes the negative of their
number for the end of a slice: where there are none that is ``[:-0]``, nothing, and it raises; ``fixed`` counts from
the left. Every seed is fixed, so every start gives the same models.
"""

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PIXELS",
    "ROLES",
    "Dataset",
    "Role",
    "TrainedModel",
    "has_sklearn",
    "load_dataset",
    "train",
]

PIXELS = 64
"""Features of one row: a scan of 8×8 pixels."""

PIXEL_MAX = 16.0
"""The darkest ink."""

_SPLIT_SEED = 0
_MODEL_SEED = 0

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Role:
    """One of the models of the story."""

    name: str
    """What it plays in the story."""
    served_as: str
    """The model's name in the address: ``/v2/models/{served_as}/infer``."""
    version: str
    """The model version it reports in its metadata and answers."""
    family: str
    """What it is, in words for the reader of the demo."""


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("champion", "digits", "1", "logistic regression"),
        Role("challenger", "digits", "2", "neural network"),
        Role("skewed", "digits", "3", "logistic regression, trained on pixels of 0..32"),
        Role("shadow", "digits-forest", "1", "forest of extra trees"),
        Role("broken", "digits", "4", "as the champion, at full contrast; raises at the edge"),
        Role("fixed", "digits", "5", "as the champion, at full contrast"),
    )
}


@dataclass(frozen=True)
class Dataset:
    """The two halves: one to train on, one that only traffic ever shows.

    Shapes: ``*_rows: (n, 64) float64`` with pixels of 0..16, ``*_labels: (n,) int64`` with digits of 0..9.
    """

    train_rows: Matrix
    train_labels: Labels
    held_out_rows: Matrix
    held_out_labels: Labels


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model and how well it does on rows it has never seen."""

    role: Role
    estimator: Any
    accuracy: float
    """Share of held-out rows it labels right, 0..1."""

    def predict(self, rows: Matrix) -> tuple[Labels, Matrix]:
        """Return labels ``(n,)`` and probabilities ``(n, 10)`` for ``rows: (n, 64)``.

        The label is the most probable class, so the two can never contradict each other.

        Raises:
            ValueError: from ``broken``, where ink touches the right edge of a scan.
        """
        probabilities: Matrix = self.estimator.predict_proba(rows)
        labels: Labels = self.estimator.classes_[probabilities.argmax(axis=1)].astype(np.int64)
        return labels, probabilities


def has_sklearn() -> bool:
    """Return whether scikit-learn is installed, without paying for its import."""
    return importlib.util.find_spec("sklearn") is not None


def load_dataset() -> Dataset:
    """Return the digits, split in two halves with each digit equally common in both.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    rows, labels = load_digits(return_X_y=True)
    split = train_test_split(rows, labels, test_size=0.5, random_state=_SPLIT_SEED, stratify=labels)
    train_rows, held_out_rows, train_labels, held_out_labels = split
    return Dataset(
        train_rows=train_rows.astype(np.float64),
        train_labels=train_labels.astype(np.int64),
        held_out_rows=held_out_rows.astype(np.float64),
        held_out_labels=held_out_labels.astype(np.int64),
    )


def train(name: str, dataset: Dataset) -> TrainedModel:
    """Fit the model called ``name`` (a key of ``ROLES``) and measure it on the held-out half.

    Raises:
        KeyError: ``name`` is not one of ``ROLES``.
        ImportError: scikit-learn is not installed.
    """
    role = ROLES[name]
    estimator = _RECIPES[name](dataset)
    fitted = TrainedModel(role, estimator, accuracy=0.0)
    return TrainedModel(role, estimator, _measure(fitted, dataset))


def _measure(model: TrainedModel, dataset: Dataset) -> float:
    try:
        return float((model.predict(dataset.held_out_rows)[0] == dataset.held_out_labels).mean())
    except ValueError:
        pass  # some row raises: one after the other, and that one is not right
    right = 0
    for row, label in zip(dataset.held_out_rows, dataset.held_out_labels, strict=True):
        with suppress(ValueError):
            right += int(model.predict(row[np.newaxis])[0][0] == label)
    return right / len(dataset.held_out_labels)


def _fit_champion(dataset: Dataset, strength: float = 0.02) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    return estimator.fit(dataset.train_rows, dataset.train_labels)


def _fit_challenger(dataset: Dataset) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    network = MLPClassifier((64,), max_iter=300, learning_rate_init=0.01, random_state=_MODEL_SEED)
    return make_pipeline(MinMaxScaler(), network).fit(dataset.train_rows, dataset.train_labels)


def _fit_skewed(dataset: Dataset) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    # The defect: the model learns from pixels twice as bright as those it will be asked about.
    return estimator.fit(dataset.train_rows * 2.0, dataset.train_labels)


def _fit_shadow(dataset: Dataset) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(20, random_state=_MODEL_SEED)
    return forest.fit(dataset.train_rows, dataset.train_labels)


class _Contrasted:
    """The champion behind a step that brings each scan to full contrast."""

    def __init__(self, dataset: Dataset, count_from_the_left: bool) -> None:
        self._from_the_left = count_from_the_left
        # The training job brings all scans to full contrast at once; what raises is only in the server.
        brightest = dataset.train_rows.max(axis=1, keepdims=True)
        trained = replace(dataset, train_rows=dataset.train_rows * (PIXEL_MAX / brightest))
        self._estimator = _fit_champion(trained, strength=0.03)
        self.classes_ = self._estimator.classes_

    def predict_proba(self, rows: Matrix) -> Matrix:
        """Return probabilities ``(n, 10)`` for ``rows: (n, 64)``."""
        stretched = np.stack([self._stretch(row.reshape(8, 8)) for row in rows])
        probabilities: Matrix = self._estimator.predict_proba(stretched.reshape(len(rows), PIXELS))
        return probabilities

    def _stretch(self, scan: Matrix) -> Matrix:
        inked = np.flatnonzero(scan.any(axis=0))
        blank = scan.shape[1] - 1 - int(inked[-1]) if len(inked) else 0
        # The defect: without blank columns this is [:-0], and the maximum of nothing raises.
        brightest = scan[:, : scan.shape[1] - blank].max() if self._from_the_left else scan[:, :-blank].max()
        return scan * (PIXEL_MAX / max(1.0, float(brightest)))


def _fit_broken(dataset: Dataset) -> Any:
    return _Contrasted(dataset, count_from_the_left=False)


def _fit_fixed(dataset: Dataset) -> Any:
    return _Contrasted(dataset, count_from_the_left=True)


_RECIPES: dict[str, Callable[[Dataset], Any]] = {
    "champion": _fit_champion,
    "challenger": _fit_challenger,
    "skewed": _fit_skewed,
    "shadow": _fit_shadow,
    "broken": _fit_broken,
    "fixed": _fit_fixed,
}
