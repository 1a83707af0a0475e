"""The models are real, and the story told about them is true of them."""

import numpy as np
import pytest

from proxy.demo.models import ROLES, Dataset, TrainedModel, has_sklearn, load_dataset, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_sklearn(), reason="scikit-learn is not installed"),
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """The digits in two halves."""
    return load_dataset()


@pytest.fixture(scope="module")
def models(dataset: Dataset) -> dict[str, TrainedModel]:
    """All models."""
    return {name: train(name, dataset) for name in ROLES}


def test_halves_do_not_share_their_counts(dataset: Dataset) -> None:
    """Both halves hold every digit about equally often, and together all scans."""
    assert len(dataset.train_rows) + len(dataset.held_out_rows) == 1797
    difference = np.bincount(dataset.train_labels) - np.bincount(dataset.held_out_labels)
    assert np.abs(difference).max() <= 1


def test_the_story_is_true(models: dict[str, TrainedModel]) -> None:
    """The challenger is a little better than the champion, the skewed one far worse, the shadow good, the
    broken one fails an eighth, and fixed it is the champion's equal.
    """
    accuracy = {name: model.accuracy for name, model in models.items()}
    assert 0.92 < accuracy["champion"] < accuracy["challenger"] < 0.99
    assert accuracy["skewed"] < accuracy["champion"] - 0.15
    assert accuracy["shadow"] > 0.9
    assert accuracy["broken"] < accuracy["champion"] - 0.1
    assert accuracy["fixed"] == pytest.approx(accuracy["champion"], abs=0.015)


@pytest.mark.parametrize("name", ["champion", "skewed", "shadow", "fixed"])
def test_training_is_repeatable(name: str, dataset: Dataset, models: dict[str, TrainedModel]) -> None:
    """The same model is trained at every start."""
    again, _ = train(name, dataset).predict(dataset.held_out_rows)
    assert (again == models[name].predict(dataset.held_out_rows)[0]).all()


def test_a_row_is_answered_as_in_a_batch(dataset: Dataset, models: dict[str, TrainedModel]) -> None:
    """Whether a row comes alone or with others does not change its label."""
    rows = dataset.held_out_rows[:50]
    for model in (model for name, model in models.items() if name != "broken"):
        together, probabilities = model.predict(rows)
        assert [model.predict(rows[i : i + 1])[0][0] for i in range(len(rows))] == together.tolist()
        assert probabilities.shape == (50, 10)
        assert np.allclose(probabilities.sum(axis=1), 1.0)


def test_the_broken_one_raises_at_the_right_edge_alone(
    dataset: Dataset, models: dict[str, TrainedModel]
) -> None:
    """An eighth of the scans have ink there; on all others it says what the fixed one says."""
    touches = dataset.held_out_rows.reshape(-1, 8, 8)[:, :, -1].any(axis=1)
    assert 0.1 < touches.mean() < 0.16
    for row in dataset.held_out_rows[touches][:20]:
        with pytest.raises(ValueError, match="zero-size array"):
            models["broken"].predict(row[np.newaxis])
    others = dataset.held_out_rows[~touches]
    assert (models["broken"].predict(others)[0] == models["fixed"].predict(others)[0]).all()
