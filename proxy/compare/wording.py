"""How alike two texts are: normalised equality, token F1, chrF, length.

Pure measures of two strings, each in time linear (but for the sorting of n-grams) in their length; the caller cuts
what is too long (`TEXT_LIMIT`).
"""

import re
import string
import unicodedata
from collections import Counter
from typing import Any, Final, TypeAlias

import numpy as np

__all__ = ["TEXT_LIMIT", "chrf", "normalise", "token_f1"]

TEXT_LIMIT: Final = 8192
"""Characters of a text that chrF and token F1 look at: its head. They take some 3 ms for two texts of that
length (``benchmarks/micro_compare.py``), and nearly all answers of language models are shorter."""

CHRF_ORDER: Final = 6
CHRF_BETA: Final = 2.0

_Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_SPACE: Final = re.compile(r"\s+")
_MARK: Final = re.compile(r"(?<!\d)(?:[^\w\s]|_)(?!\d)")
"""Whatever is neither of a word nor space, but for what stands beside a digit: 3.5 is not 35."""

_END: Final = re.compile(r"(?<=\d)[.,;:?。、，；：？]+(?=\s|\Z)")
"""What ends a clause behind a number: it changes none. A percent sign does, and so may an exclamation mark."""

_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
_ASCII_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return ``text`` in NFC, without case, without punctuation, with single spaces.

    Punctuation beside a digit stays, but for the end of a clause: ``-5`` and ``5``, ``3.5`` and ``35`` are not the same
    answer, ``42.`` and ``42`` are. So does all of it where there is nothing else: ``?`` is not ``!``.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    bare = _without_punctuation(folded)
    spaced = _SPACE.sub(" ", bare).strip()
    return spaced or _SPACE.sub(" ", folded).strip()


def _without_punctuation(text: str) -> str:
    return _END.sub("", _MARK.sub(_without_mark, text))


def _without_mark(found: re.Match[str]) -> str:
    mark = found[0]
    return "" if unicodedata.category(mark)[0] == "P" else mark


def token_f1(first: str, second: str) -> float:
    """Return the F1 of the words two texts share, in [0, 1]; symmetric.

    As SQuAD has it (Rajpurkar, Zhang, Lopyrev, Liang, "SQuAD: 100,000+ Questions for Machine Comprehension of
    Text", EMNLP 2016): lower case, without ASCII punctuation and English articles, words between white space,
    counted as often as they occur. Two texts without words are alike.
    """
    left, right = Counter(_words(first)), Counter(_words(second))
    if not left or not right:
        return float(not left and not right)
    shared = sum((left & right).values())
    return 2.0 * shared / (left.total() + right.total())


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split()


def chrf(candidate: str, reference: str) -> float:
    """Return chrF2 of ``candidate`` against ``reference``, in [0, 100].

    Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015: precision and recall of
    character n-grams, averaged over the orders 1 to 6 that both texts are long enough for, F with beta 2 of the
    averages; white space does not count. Not symmetric: recall weighs four times as much as precision. Two empty
    texts have nothing in common: 0.
    """
    texts = "".join(candidate.split()), "".join(reference.split())
    left, right = (np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4") for text in texts)
    # One number per distinct n-gram of either text; that of order n + 1 comes from the one of order n and a letter.
    letters = _numbered(np.concatenate((left, right)).astype(np.int64))
    first = letters[: len(left)], letters[len(left) :]
    base = len(letters)
    grams = first
    precision = recall = 0.0
    orders = min(CHRF_ORDER, len(left), len(right))
    for order in range(1, orders + 1):
        if order > 1:
            longer = [
                gram[:-1] * base + letter[order - 1 :] for gram, letter in zip(grams, first, strict=True)
            ]
            numbered = _numbered(np.concatenate(longer))
            grams = numbered[: len(longer[0])], numbered[len(longer[0]) :]
        shared = _shared(*grams)
        precision += shared / len(grams[0])
        recall += shared / len(grams[1])
    weight = CHRF_BETA**2
    if not precision + recall:
        return 0.0
    f_score = (1.0 + weight) * precision * recall / (weight * precision + recall) / orders
    return min(100.0, 100.0 * f_score)


def _numbered(values: _Ids) -> _Ids:
    """Return for each value its place among the distinct ones: 0, 1, …"""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _shared(left: _Ids, right: _Ids) -> int:
    """Return how many elements two multisets of small numbers share."""
    counts = np.bincount(left), np.bincount(right)
    size = min(map(len, counts))
    return int(np.minimum(counts[0][:size], counts[1][:size]).sum())
