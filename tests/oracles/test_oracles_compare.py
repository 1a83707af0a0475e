"""The measures that answers are compared by are those of the libraries that others use for them."""

import numpy as np
import pytest

from proxy.compare.classes import jensen_shannon
from proxy.compare.overlaps import iou_matrix
from proxy.compare.rankings import rank_biased_overlap
from proxy.compare.vectors import cosine
from proxy.compare.wording import chrf, token_f1
from tests.oracles.conftest import Ask

pytestmark = pytest.mark.long

RNG = np.random.default_rng(6)
PAIRS = 3000

WORDS = [
    "paris",
    "is",
    "capital",
    "of",
    "france",
    "london",
    "city",
    "river",
    "42",
    "3.5",
    "-7",
    "yes",
    "maybe",
]
SIGNS = list("abc ABC äöü ßéê 的是不我 привет.,!?-()😀\t\n")


def sentence(words: int) -> str:
    return " ".join(RNG.choice(WORDS, RNG.integers(0, words)))


def noise(length: int) -> str:
    return "".join(RNG.choice(SIGNS, RNG.integers(0, length)))


def changed(text: str) -> str:
    """Return the text with some of its characters taken out or doubled."""
    return "".join(letter * RNG.choice([0, 1, 1, 1, 1, 1, 1, 2]) for letter in text)


def test_chrf(ask: Ask) -> None:
    """chrF2 is sacrebleu's: of sentences, of noise in several scripts, and of texts that are nearly the same."""
    texts = [sentence(30) for _ in range(PAIRS)] + [noise(40) for _ in range(PAIRS)]
    pairs = [[one, changed(one)] for one in texts]
    pairs += [[one, other] for one, other in zip(texts, reversed(texts), strict=True)]
    expected = ask("chrf", pairs)
    assert [chrf(*pair) for pair in pairs] == pytest.approx(expected, abs=1e-9)
    assert 10 < np.mean(expected) < 90


def test_token_f1(ask: Ask) -> None:
    """The F1 of shared words is ROUGE-1's, for words that neither of the two splits or drops."""
    plain = [word for word in WORDS if word.isalpha()]
    texts = [" ".join(RNG.choice(plain, RNG.integers(1, 12))) for _ in range(2 * PAIRS)]
    pairs = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    expected = ask("rouge", pairs)
    assert [token_f1(*pair) for pair in pairs] == pytest.approx(expected, abs=1e-9)
    assert 0.1 < np.mean(expected) < 0.9


@pytest.mark.parametrize("persistence", [0.5, 0.9, 0.98])
def test_rank_biased_overlap(ask: Ask, persistence: float) -> None:
    """RBO_ext is that of the package rbo, for rankings of any two lengths."""
    pairs = [[RNG.permutation(30)[: RNG.integers(1, 25)].tolist() for _ in range(2)] for _ in range(PAIRS)]
    expected = ask("rank_biased_overlap", pairs, persistence)
    assert [rank_biased_overlap(one, other, persistence) for one, other in pairs] == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("classes", [2, 3, 100])
def test_jensen_shannon(ask: Ask, classes: int) -> None:
    """The distance is scipy's, also where classes have no chance at all."""
    found = RNG.dirichlet(np.full(classes, 0.3), (PAIRS, 2))
    found[::3, :, 0] = 0.0
    pairs = found.tolist()
    expected = ask("jensen_shannon", pairs)
    # The root of a rounding error is 1e-8: squares are compared, which is what is computed.
    assert [jensen_shannon(*pair) ** 2 for pair in pairs] == pytest.approx(
        np.square(expected).tolist(), abs=1e-9
    )


def test_cosine(ask: Ask) -> None:
    """The cosine is scipy's, for large and small vectors."""
    pairs = (RNG.normal(size=(PAIRS, 2, 64)) * 10.0 ** RNG.integers(-9, 9, (PAIRS, 2, 1))).tolist()
    assert [cosine(*pair) for pair in pairs] == pytest.approx(ask("cosine", pairs), abs=1e-9)


def test_iou(ask: Ask) -> None:
    """The overlap of boxes is pycocotools'."""
    counts = RNG.integers(1, 9, (PAIRS, 2))
    pairs = [
        [np.hstack((RNG.uniform(0, 50, (count, 2)), RNG.uniform(1, 50, (count, 2)))) for count in both]
        for both in counts
    ]
    expected = ask("iou", [[one.tolist(), other.tolist()] for one, other in pairs])
    for (one, other), theirs in zip(pairs, expected, strict=True):
        corners = [np.hstack((boxes[:, :2], boxes[:, :2] + boxes[:, 2:])) for boxes in (one, other)]
        assert np.allclose(iou_matrix(*corners), theirs, rtol=0, atol=1e-9)
