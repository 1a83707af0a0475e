"""Two Tritons whose sums differ by a little: which values are out of tolerance is what numpy finds in the client's."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.real.judged import Judging, Pair, hold, judging
from tests.real.processes import Driver, server
from tests.real.reading import FORMS

pytestmark = [pytest.mark.slow, pytest.mark.long]

QUESTIONS = 20
SKEW = "0.002"


@pytest.fixture(scope="module")
def stand(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """A model, and another one that is skewed."""
    module, ready = "tests.real.servers.triton", "/v2/health/ready"
    one, other, place = (tmp_path_factory.mktemp(name) for name in ("one", "other", "proxy"))
    with (
        server("small", module, one, ready=ready) as champion,
        server("small", module, other, SKEW, ready=ready) as shadow,
        judging(champion, shadow, place) as stand,
    ):
        yield stand


def of_tensors(one: dict[str, Any], other: dict[str, Any]) -> Pair:
    """Every value of every output: 1e-4 of the larger one is tolerated in FP32, and 1e-4."""
    pairs = [(np.array(one[name]), np.array(other[name])) for name in one]
    out = [abs(a - b) > 1e-4 + 1e-4 * np.maximum(abs(a), abs(b)) for a, b in pairs]
    rows = np.logical_or.reduce([each.any(axis=1) for each in out])
    return Pair(rows.tolist(), float(np.concatenate(out, axis=None).mean()))


@pytest.mark.parametrize("form", FORMS)
def test_tensors(stand: Judging, drivers: Callable[[str], Driver], form: str) -> None:
    """Binary tensors or JSON: the same values are out of tolerance."""
    draw = np.random.default_rng(1)
    questions = [
        {"a": draw.normal(size=(2, 5)), "b": draw.uniform(0, 0.08, (2, 5)) + (number % 4 == 0)}
        for number in range(QUESTIONS)
    ]

    def ask(url: str, number: int) -> dict[str, Any]:
        rows = {name: array.tolist() for name, array in questions[number].items()}
        told = drivers("tritonclient").call(
            "arrays", url, model="sums", rows=rows, kind="FP32", outputs=["sum", "difference"], **FORMS[form]
        )
        assert "gave" in told, told
        arrays: dict[str, Any] = told["gave"]
        return arrays

    hold(stand, ask, QUESTIONS, "tensor", of_tensors)
