"""The hash is a promise: the same unit falls into the same bucket in every worker, version and CPU."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.hashing import SPACE, bucket, salt_prefix, share

GOLDEN: list[tuple[str, str, int]] = [
    ("wine", "", 0x56727D8346F42ED9),
    ("", "", 0xFC8F685780E3A216),
    ("", "a", 0xE23791D92100BDE6),
    ("wine", "a", 0x02567DC884215789),
    ("wine", "user-1", 0xB9010379C0450244),
    ("wine", "user-2", 0x303AA5E56B3BB2B0),
    ("wine", "User-1", 0xF48993CA7D260572),
    ("beer", "user-1", 0x404F841071DD0E25),
    ("wine/log", "user-1", 0x9080C71E2D01B345),
    ("wine/shadow/wine-v4", "user-1", 0x894DCC8B917A06A6),
    ("wine", "0", 0xD9CD19F56621E70F),
    ("wine", "00000000-0000-4000-8000-000000000000", 0xFDB02094608D9045),
    ("wine", "ünïcødé", 0x67D99940DE4C1AEB),
    ("wine", "用户", 0x13330004B691BF1B),
    ("wine", "🙂🙃", 0x2A6295F2F712D8BE),
    ("vìn", "user-1", 0x8E530B95995C01F3),
    ("wine", " ", 0x7BB6D94E1D8DFF42),
    ("wine", "a:b", 0xD0F04389E2517C48),
    ("wine:a", "b", 0xD0F04389E2517C48),
    ("wine", "203.0.113.7", 0x78436C77D36C3A7F),
    ("wine", "2001:db8::1", 0x5F9A9BACE52F2F3A),
    ("wine", "x" * 1000, 0xE6231F912D67E080),
    ("s" * 64, "u" * 15, 0xA7E5365F76A58DC0),
]
"""(salt, unit, bucket). Changing one moves real users: add, never edit."""

MASK = SPACE - 1


def rotl(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & MASK


def fmix(value: int) -> int:
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return value ^ (value >> 33)


def murmur3_x64_128(data: bytes) -> tuple[int, int]:
    """MurmurHash3_x64_128 with seed 0, after the public algorithm (A. Appleby, SMHasher, MurmurHash3.cpp)."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def mix1(k: int) -> int:
        return (rotl((k * c1) & MASK, 31) * c2) & MASK

    def mix2(k: int) -> int:
        return (rotl((k * c2) & MASK, 33) * c1) & MASK

    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for offset in range(0, whole, 16):
        k1 = int.from_bytes(data[offset : offset + 8], "little")
        k2 = int.from_bytes(data[offset + 8 : offset + 16], "little")
        h1 = ((rotl(h1 ^ mix1(k1), 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 = ((rotl(h2 ^ mix2(k2), 31) + h1) * 5 + 0x38495AB5) & MASK
    tail = data[whole:]
    h2 ^= mix2(int.from_bytes(tail[8:], "little"))
    h1 ^= mix1(int.from_bytes(tail[:8], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = fmix(h1), fmix(h2)
    h1 = (h1 + h2) & MASK
    return h1, (h2 + h1) & MASK


def chi_square(counts: list[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize(("salt", "unit", "expected"), GOLDEN)
def test_golden_vectors(salt: str, unit: str, expected: int) -> None:
    """A pinned unit keeps its bucket for ever."""
    assert expected == bucket(salt_prefix(salt), unit.encode())


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_bucket_is_the_second_word_of_the_public_algorithm(salt: bytes, unit: bytes) -> None:
    """An independent implementation of MurmurHash3 x64 128 gives the same bucket for any bytes."""
    assert murmur3_x64_128(salt + b":" + unit)[1] == bucket(salt + b":", unit)


def test_referee_agrees_with_a_published_vector() -> None:
    """The referee itself agrees with the vector for "hello" that other implementations publish."""
    assert murmur3_x64_128(b"hello") == (0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19)


def test_salt_and_unit_are_joined_by_a_colon() -> None:
    """The prefix is the salt in UTF-8 and a colon, as the contract writes it."""
    assert "wéin:".encode() == salt_prefix("wéin")


@pytest.mark.parametrize("salt", ["wine", "", "wine/shadow/wine-v4", "wine/log", "ünïcødé", "a" * 64])
@pytest.mark.parametrize("form", ["{}", "user-{}", "{:012d}", "{}@example.com"])
def test_sequential_units_spread_evenly(salt: str, form: str) -> None:
    """Sequential ids, the least random there are, fill 64 equal slices evenly (chi-square, p > 1e-6)."""
    counts = [0] * 64
    prefix = salt_prefix(salt)
    for number in range(6400):
        counts[bucket(prefix, form.format(number).encode()) >> 58] += 1
    assert chi_square(counts) < 134.0  # 63 degrees of freedom


def test_low_bits_are_as_even_as_high_bits() -> None:
    """The lowest six bits of the buckets are evenly spread, so a tiny weight is as fair as a large one."""
    counts = [0] * 64
    for number in range(6400):
        counts[bucket(b"wine:", b"user-%d" % number) & 63] += 1
    assert chi_square(counts) < 134.0


@pytest.mark.parametrize(
    ("one", "other"), [("wine", "beer"), ("wine", "wine/log"), ("a", "b"), ("wine1", "wine2"), ("", " ")]
)
def test_salts_are_independent(one: str, other: str) -> None:
    """Where a unit falls under one salt says nothing about another (8 x 8 contingency table, p > 1e-6)."""
    cells = [0] * 64
    first, second = salt_prefix(one), salt_prefix(other)
    for number in range(6400):
        unit = b"user-%d" % number
        cells[(bucket(first, unit) >> 61) * 8 + (bucket(second, unit) >> 61)] += 1
    rows = [sum(cells[row * 8 : row * 8 + 8]) for row in range(8)]
    columns = [sum(cells[column::8]) for column in range(8)]
    expected = [rows[i // 8] * columns[i % 8] / 6400 for i in range(64)]
    statistic = sum((cell - mean) ** 2 / mean for cell, mean in zip(cells, expected, strict=True))
    assert statistic < 111.0  # 49 degrees of freedom


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        ("0", 0),
        ("100", SPACE),
        ("50", SPACE // 2),
        ("25", SPACE // 4),
        ("0.1", SPACE // 1000),
        ("33.333333333333333333333333333", 33333333333333333333333333333 * SPACE // (100 * 10**27)),
        ("1e-18", 0),
        ("1e-17", 1),
    ],
)
def test_share_is_exact(percent: str, expected: int) -> None:
    """A percent becomes a whole number of buckets without floating point, rounded down."""
    assert expected == share(Decimal(percent))


@given(st.decimals(0, 100, places=6), st.decimals(0, 100, places=6))
def test_share_is_monotone_and_never_too_much(one: Decimal, other: Decimal) -> None:
    """More percent is never fewer buckets, and shares that add to at most 100 percent fit into the space."""
    low, high = sorted((one, other))
    assert share(low) <= share(high)
    assert 0 <= Fraction(low) * SPACE / 100 - share(low) < 1
    assert share(low) + share(100 - low) <= SPACE
