"""Mutated bodies of every format through every decoder: ``python -m tests.compare.fuzz --bodies 1000000``.

Seeded, so a failure comes back: the message says which body of which seed it was. What must hold of any bytes is in
:func:`check`.
"""

import argparse
import re
import sys
from array import array
from math import prod
from random import Random

from proxy.compare import (
    Answer,
    ComparisonRule,
    Prediction,
    Undecodable,
    compare,
    decode,
    decode_request,
)
from proxy.compare.content import decode_content
from proxy.compare.pace import measure_pace
from proxy.compare.predictions import differing_rows
from proxy.methods import METHODS
from tests.compare.bodies import BODIES, Body

__all__ = ["check", "fuzz", "mutated"]

CAP = 64 * 1024
"""Bytes of a decoded layer: small, so that a bomb is met within a short body."""

NAMES = tuple(BODIES)
KINDS = (
    *{body.kind for body in BODIES.values()},
    None,
    b"",
    b"text/csv;header=present",
    b"application/json; charset=utf-16",
)
CODINGS = (None, None, b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"identity")
TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b"data: ",
        b"data:",
        b": ",
    ),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"18446744073709551616", b"0.1", b'"index":'),
    *(
        b"[DONE]",
        b"data: [DONE]\n\n",
        b'"error":{}',
        b'{"error":"x"}',
        b"\xef\xbb\xbf",
        b"\xff",
        b"\x00",
        b"\xed\xa0\x80",
    ),
    *(
        b'"choices":[]',
        b'"delta":{}',
        b'"content":',
        b'"shape":[0]',
        b'"datatype":"BF16"',
        b'"datatype":"BYTES"',
    ),
    *(b'"binary_data_size":9', b'"finish_reason":"stop"', b"[" * 40, b"]" * 40, b",,,,", b'""', b"\\ud800"),
)

SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|true|false|null')
KEYS = tuple({found[1] for body in BODIES.values() for found in re.finditer(rb'("\w+"):', body.data)})
VALUES = (
    *(
        b"null",
        b"true",
        b"false",
        b"0",
        b"-1",
        b"1.5",
        b"1e999",
        b"NaN",
        b"18446744073709551615",
        b"9" * 30,
        b'""',
        b'"a"',
    ),
    *(
        b"[]",
        b"{}",
        b"[[]]",
        b"[0]",
        b"[null]",
        b'["a", 1]',
        b'{"a": 1}',
        b'[{"text": "a"}]',
        b"[1, [2]]",
        b'"stop"',
    ),
    *(
        b'"FP16"',
        b'"BF16"',
        b'"BYTES"',
        b'"BOOL"',
        b'"UINT64"',
        b"[0]",
        b"[2, 0]",
        b"[-1]",
        b"[1, 1, 1]",
        b'"message"',
    ),
    *(
        b'"response"',
        b'"response.completed"',
        b'"message_stop"',
        b'"list"',
        b'"AAAA"',
        b'"AACAfwAAwH8="',
        b"[1e400, 2]",
    ),
)


def mutated(random: Random) -> Body:
    """Return one of the bodies with a few things wrong with it, seldom with none."""
    body = BODIES[random.choice(NAMES)]
    data = bytearray(body.data)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 6))):
        if random.random() < 0.75:
            _replace_value(data, random)
        else:
            _mutate(data, random)
    kind, coding, header = body.kind, body.coding, body.header_length
    if random.random() < 0.1:
        kind = random.choice(KINDS)
    if random.random() < 0.05:
        coding = random.choice(CODINGS)
    if random.random() < 0.1:
        header = random.choice((None, -1, 0, len(data), len(data) - 1, random.randrange(len(data) + 9)))
    return Body(bytes(data), kind, coding, header)


def _replace_value(data: bytearray, random: Random) -> None:
    """Put another value, or another name, in the place of one: what is JSON stays JSON, and says something else."""
    found = list(SCALAR.finditer(data))
    if found:
        start, end = random.choice(found).span()
        is_name = data[end : end + 1] == b":"
        data[start:end] = random.choice(KEYS if is_name else VALUES)


def _mutate(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    length = random.choice((1, 1, 2, 4, 9, 40))
    choice = random.randrange(8)
    if choice == 0:
        data[at : at + 1] = bytes((random.randrange(256),))
    elif choice == 1:
        del data[at : at + length]
    elif choice == 2:
        data[at:at] = random.choice(TOKENS)
    elif choice == 3:
        data[at : at + length] = random.choice(TOKENS)
    elif choice == 4:
        data[at:at] = data[at : at + length] * random.choice((1, 2, 30))
    elif choice == 5:
        del data[at:]
    elif choice == 6:
        other = BODIES[random.choice(NAMES)].data
        start = random.randrange(len(other))
        data[at : at + length] = other[start : start + length]
    else:
        for place in range(at, min(at + length, len(data))):
            data[place] ^= 1 << random.randrange(8)


def check(body: Body, random: Random) -> None:
    """Read a body in every way there is.

    Raises:
        AssertionError: what came out contradicts itself. Any other exception is a bug too.
    """
    found = decode(200, body.kind, body.coding, body.data, body.header_length, CAP)
    _check_prediction(found)
    plain = decode_content(body.data, body.coding, CAP)
    if isinstance(plain, Undecodable):
        assert found == plain
        return
    assert body.coding in (None, b"identity") or len(plain) <= CAP
    _check_prediction(decode_request(body.kind, plain, body.header_length))
    original = BODIES[random.choice(NAMES)]
    rule = ComparisonRule(random.choice(METHODS), keeps_predictions=True)
    judged = compare(rule, _answer(original), _answer(body), CAP)
    if judged.predicted is not None:
        assert all(0 <= row < judged.predicted.rows for row in differing_rows(judged.predicted, 16)), judged
    assert (judged.distance is None) == (judged.result == "uncomparable")
    blob = array("Q", sorted(random.randrange(2 * len(plain) + 1) for _ in range(2 * random.randrange(5))))
    pace = measure_pace(blob.tobytes(), plain, body.kind, limit=3)
    if pace is not None:
        assert 0 <= pace.first_token_ns <= pace.last_token_ns
        assert pace.parts >= 1


def _answer(body: Body) -> Answer:
    return Answer(200, body.kind, body.coding, body.data, inference_header_length=body.header_length)


def _check_prediction(found: Prediction | Undecodable) -> None:
    if isinstance(found, Undecodable):
        assert found.reason
        return
    for tensor in found.tensors:
        assert len(tensor.data) == prod(tensor.shape)
        assert tensor.rows * tensor.width == len(tensor.data)
    assert found.rows is None or found.rows >= 0
    completion = found.completion
    if completion is not None:
        assert [choice.index for choice in completion.choices] == sorted(
            choice.index for choice in completion.choices
        )


def fuzz(bodies: int, seed: int, *, tell: bool = False) -> dict[str, int]:
    """Read so many mutated bodies; return how many came out as what.

    Raises:
        AssertionError: with the body that broke something.
    """
    random = Random(seed)  # noqa: S311 - it is to come back, not to be secret
    outcomes: dict[str, int] = {}
    for number in range(bodies):
        body = mutated(random)
        try:
            check(body, random)
        except Exception as error:
            raise AssertionError(f"body {number} of seed {seed}: {body!r}") from error
        found = decode(200, body.kind, body.coding, body.data, body.header_length, CAP)
        name = found.reason if isinstance(found, Undecodable) else found.format
        outcomes[name] = outcomes.get(name, 0) + 1
        if tell and number % 10_000 == 0:
            print(f"\r{number:,} bodies", end="", file=sys.stderr, flush=True)  # noqa: T201
    return outcomes


def main() -> None:
    """Read as many bodies as one asks for, and say what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcomes = fuzz(options.bodies, options.seed, tell=sys.stderr.isatty())
    for name, count in sorted(outcomes.items(), key=lambda pair: -pair[1]):
        print(f"{count:10,}  {name}")  # noqa: T201


if __name__ == "__main__":
    main()
