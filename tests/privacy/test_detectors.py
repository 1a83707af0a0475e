"""What detectors find, what they leave alone, and that no text makes them slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.privacy.detectors import DETECTORS, Detector, find, is_card_number

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAK\n-----END RSA PRIVATE KEY-----"
GITHUB = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"

FOUND: dict[str, tuple[Detector, str, list[str]]] = {
    "alone": ("email", "ada@example.com", ["ada@example.com"]),
    "in a sentence": ("email", "Write to ada.l+ml@mail.example.co.uk.", ["ada.l+ml@mail.example.co.uk"]),
    "two": ("email", "a@example.org,b@example.org", ["a@example.org", "b@example.org"]),
    "in brackets": ("email", "Ada <ada@example.com>", ["ada@example.com"]),
    "escaped": ("email", "/u/ada%40example.com/x", ["ada%40example.com"]),
    "escaped altogether": ("email", "u=ada%2Btag%40example.com", ["ada%2Btag%40example.com"]),
    "behind an escaped sign": ("email", "%40ada@example.com", ["ada@example.com"]),
    "behind a percent sign": ("email", "100%zoe@example.com", ["zoe@example.com"]),
    "in a URL": ("email", "mailto:ada@example.com?subject=x", ["ada@example.com"]),
    "in a query": ("email", "x=1&user=ada@example.com&y=2", ["ada@example.com"]),
    "letters of another language": ("email", "jürgen@bücher.example", ["jürgen@bücher.example"]),
    "marks between letters": ("email", "an संपर्क@डाटामेल.भारत", ["संपर्क@डाटामेल.भारत"]),
    "marks between letters, thai": ("email", "ผู้ใช้@ทดสอบ.ไทย", ["ผู้ใช้@ทดสอบ.ไทย"]),
    "marks of their own": ("email", "andre\u0301@cafe\u0301.example", ["andre\u0301@cafe\u0301.example"]),
    "a domain with a number in it": ("email", "a@1.example.com", ["a@1.example.com"]),
    "long before the sign": ("email", "x" * 400 + "@example.com", ["x" * 400 + "@example.com"]),
    "visa": ("card", "4111111111111111", ["4111111111111111"]),
    "visa in groups": ("card", "4111 1111 1111 1111", ["4111 1111 1111 1111"]),
    "hyphens": ("card", "card:4111-1111-1111-1111;", ["4111-1111-1111-1111"]),
    "mastercard": ("card", "5555555555554444 2223003122003222", ["5555555555554444", "2223003122003222"]),
    "american express": ("card", "3782 822463 10005", ["3782 822463 10005"]),
    "discover": ("card", "6011111111111117", ["6011111111111117"]),
    "diners": ("card", "30569309025904", ["30569309025904"]),
    "jcb": ("card", "3530111333300000", ["3530111333300000"]),
    "with another number before and behind": (
        "card",
        "no 12 4111 1111 1111 1111 12/25",
        ["4111 1111 1111 1111"],
    ),
    "points": ("card", "pay 4111.1111.1111.1111.", ["4111.1111.1111.1111"]),
    "strokes": ("card", "4111/1111/1111/1111", ["4111/1111/1111/1111"]),
    "underscores": ("card", "3782_822463_10005", ["3782_822463_10005"]),
    "behind a name": ("card", "card_4111111111111111", ["4111111111111111"]),
    "a track": ("card", "%B4111111111111111^LOVELACE/ADA^2512101", ["4111111111111111"]),
    "the other track": ("card", ";4111111111111111=25121010000?", ["4111111111111111"]),
    "between words that end and begin with digits": (
        "card",
        "x12 4111 1111 1111 1111 12x",
        ["4111 1111 1111 1111"],
    ),
    "thirteen digits": ("card", "4222222222222", ["4222222222222"]),
    "jwt": ("token", f"the token is {JWT}.", [f"{JWT}."]),
    "bearer": ("token", f"Authorization: Bearer {'Zm9vYmFy' * 3}", ["Zm9vYmFy" * 3]),
    "basic": ("token", "basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
    "private key": ("token", f"a\n{PEM}\nb", [PEM]),
    "cut private key": ("token", PEM[:50], [PEM[:50]]),
    "github": ("token", f"token={GITHUB}", [GITHUB]),
    "github, fine-grained": ("token", "github_pat_" + "A1" * 41, ["github_pat_" + "A1" * 41]),
    "aws": ("token", "key AKIAIOSFODNN7EXAMPLE end", ["AKIAIOSFODNN7EXAMPLE"]),
    "openai": ("token", "sk-proj-" + "aB3" * 16, ["sk-proj-" + "aB3" * 16]),
    "anthropic": ("token", "sk-ant-api03-" + "aB3_" * 16, ["sk-ant-api03-" + "aB3_" * 16]),
    "slack": ("token", "xoxb-123456789012-abcdefABCDEF", ["xoxb-123456789012-abcdefABCDEF"]),
    "slack, of a browser": ("token", "d=xoxd-aB3d%2FaB3d%3D;", ["xoxd-aB3d%2FaB3d%3D"]),
    "stripe": ("token", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", ["sk_live_4eC39HqLyjWDarjtT1zdp7dc"]),
    "google": ("token", "AIza" + "Sy_1" * 9, ["AIza" + "Sy_1" * 9]),
    "google, a client's secret": ("token", "GOCSPX-" + "aB3d" * 7, ["GOCSPX-" + "aB3d" * 7]),
    "azure storage": ("token", f"AccountKey={'aB3/' * 21}aA==;", [f"AccountKey={'aB3/' * 21}aA=="]),
    "hugging face": ("token", "hf_" + "aB" * 17, ["hf_" + "aB" * 17]),
    "hugging face, of an organisation": ("token", "api_org_" + "aB" * 17, ["api_org_" + "aB" * 17]),
    "vault": ("token", "hvs." + "aB3d" * 8, ["hvs." + "aB3d" * 8]),
    "docker": ("token", "dckr_pat_" + "aB3d" * 7, ["dckr_pat_" + "aB3d" * 7]),
    "langsmith": ("token", f"lsv2_pt_{'ab34' * 8}_ab34", [f"lsv2_pt_{'ab34' * 8}_ab34"]),
    "pinecone": ("token", "pcsk_" + "aB3d_" * 9, ["pcsk_" + "aB3d_" * 9]),
    "password in a URL": ("token", "postgres://ada:hunter2@db/x", ["hunter2"]),
    "a sign in a password": ("token", "postgres://ada:p@ss@w@db/x?a@b", ["p@ss@w"]),
    "bearer, a tab": ("token", "bearer\tZm9vYmFyZm9v", ["Zm9vYmFyZm9v"]),
    "aws, secret": ("token", f"aws_secret_access_key = {'aB3/' * 10}", ["aB3/" * 10]),
    "aws, secret, in a program": ("token", f"{{'SecretAccessKey': '{'aB3/' * 10}'}}", ["aB3/" * 10]),
    "aws, secret, in a manifest": ("token", f"secret-access-key: {'aB3/' * 10}", ["aB3/" * 10]),
    "xai": ("token", "xai-" + "aB3d" * 20, ["xai-" + "aB3d" * 20]),
    "replicate": ("token", "r8_" + "aB3d" * 10, ["r8_" + "aB3d" * 10]),
    "a hook of slack": (
        "token",
        "https://hooks.slack.com/services/T012AB/B012AB/abcdefghijklmnop",
        ["hooks.slack.com/services/T012AB/B012AB/abcdefghijklmnop"],
    ),
    "atlassian": ("token", "ATATT3" + "aB3d" * 12, ["ATATT3" + "aB3d" * 12]),
    "digitalocean": ("token", "dop_v1_" + "ab34" * 16, ["dop_v1_" + "ab34" * 16]),
    "shopify": ("token", "shpat_" + "ab34" * 8, ["shpat_" + "ab34" * 8]),
    "two forms that overlap": ("token", f"Bearer {JWT}", [JWT]),
    "international": ("phone", "call +49 30 1234567 now", ["+49 30 1234567"]),
    "international in groups": ("phone", "+1 (555) 123-4567", ["+1 (555) 123-4567"]),
    "with a trunk prefix": ("phone", "+44 (0)20 7946 0958", ["+44 (0)20 7946 0958"]),
    "with a point": ("phone", "+1.5551234567, +49.301234567", ["+1.5551234567", "+49.301234567"]),
    "with points": ("phone", "+1.555.123.4567", ["+1.555.123.4567"]),
    "without groups": ("phone", "tel:+15551234567", ["+15551234567"]),
}

LEFT_ALONE: dict[str, tuple[Detector, str]] = {
    "no domain": ("email", "ada@localhost"),
    "a version": ("email", "numpy@1.26.4"),
    "a sign alone": ("email", "a @ b.c, @example.com"),
    "a decorator": ("email", "@pytest.mark.slow"),
    "wrong check digit": ("card", "4111111111111112"),
    "digit by digit": ("card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    "no issuer": ("card", "9111111111111111"),
    "an issuer, another length": ("card", "411111111111111"),
    "part of a longer number": ("card", "41111111111111110000"),
    "part of a word": ("card", "x4111111111111111"),
    "in groups, part of a word": ("card", "x4111 1111 1111 1111"),
    "in groups, a letter behind": ("card", "4111 1111 1111 1111x"),
    "part of a hash": ("card", "a4111111111111111f"),
    "a fraction": ("card", "0.4111111111111111"),
    "part of a longer number, points": ("card", "4111.1111.1111.1111.1111"),
    "fractions": ("card", "4111.1111 1111.1111 0.4111111111111111"),
    "another sign in between": ("card", "4111.1111/1111.1111"),
    "an address of the internet": ("card", "192.168.100.200 4111.1111.1111"),
    "a time in nanoseconds": ("card", "1760000000123456789"),
    "a uuid": ("card", "6d6aaf5c-6f0e-4b7b-8f4a-0b7a4c1d2e3f"),
    "a hash is no token": ("token", "f77085a77e6ae7d7f2f97edde3e0db09" * 2),
    "a word with a hyphen": ("token", "a risk-assessment-of-the-whole and sk-learn-estimator-pipelines"),
    "prose": ("token", "a basic understanding of bearer certificates"),
    "a public key": ("token", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
    "a URL with a port": ("token", "http://example.com:8080/a@b"),
    "base64 of JSON alone": ("token", "eyJhIjoxfQ"),
    "no plus": ("phone", "030 1234567, 555-123-4567"),
    "a measurement with its sign": ("phone", "+3.6604819,-0.1,+1.23456789;+2.500000000001"),
    "a sum": ("phone", "1+12345678, a+123456789"),
    "an offset": ("phone", "2026-11-21T10:00:00+01:00, +0100"),
    "too long": ("phone", "+1234567890123456789"),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    """What has the form is found, from its first character to its last."""
    detector, text, expected = FOUND[name]
    assert [text[begin:end] for begin, end in find(detector, text)] == expected


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str) -> None:
    """What only looks like it is not found."""
    detector, text = LEFT_ALONE[name]
    assert find(detector, text) == []


# First four digits, from and to, and lengths: as the card schemes publish them.
ISSUERS: dict[str, tuple[int, int, set[int]]] = {
    "Visa": (4000, 4999, {13, 16, 19}),
    "Mastercard": (5100, 5599, {16}),
    "Mastercard, second range": (2221, 2720, {16}),
    "American Express, 34": (3400, 3499, {15}),
    "American Express, 37": (3700, 3799, {15}),
    "Discover, 6011": (6011, 6011, {16, 17, 18, 19}),
    "Discover, 644 to 65": (6440, 6599, {16, 17, 18, 19}),
    "Diners Club, 300 to 305": (3000, 3059, {14, 15, 16, 17, 18, 19}),
    "Diners Club, 36": (3600, 3699, {14, 15, 16, 17, 18, 19}),
    "Diners Club, 38 and 39": (3800, 3999, {14, 15, 16, 17, 18, 19}),
    "JCB": (3528, 3589, {16, 17, 18, 19}),
    "UnionPay": (6200, 6299, {16, 17, 18, 19}),
    "Maestro, 50": (5000, 5099, {13, 14, 15, 16, 17, 18, 19}),
    "Maestro, 56 to 58": (5600, 5899, {13, 14, 15, 16, 17, 18, 19}),
    "Maestro, 63": (6300, 6399, {13, 14, 15, 16, 17, 18, 19}),
    "Maestro, 67": (6700, 6799, {13, 14, 15, 16, 17, 18, 19}),
}


@pytest.mark.parametrize("name", ISSUERS)
def test_ranges_of_the_issuers(name: str) -> None:
    """At both ends of a range and beside them a number is a card's exactly where some issuer has such numbers."""
    first, last, _ = ISSUERS[name]
    for prefix in (first - 1, first, last, last + 1):
        allowed = {
            length for low, high, lengths in ISSUERS.values() if low <= prefix <= high for length in lengths
        }
        for length in range(11, 22):
            body = f"{prefix}{'0' * (length - 5)}"
            assert any(is_card_number(f"{body}{digit}") for digit in range(10)) is (length in allowed), (
                prefix,
                length,
            )


def test_check_digit_of_the_standard() -> None:
    """Of the ten last digits exactly one is right (ISO/IEC 7812-1 annex B)."""
    assert [is_card_number(f"411111111111111{digit}") for digit in range(10)].count(True) == 1


@given(
    st.sampled_from(sorted(DETECTORS)),
    st.lists(st.sampled_from([text for _, text, _ in FOUND.values()]) | st.text(max_size=3), max_size=6),
)
def test_spans_are_in_order_and_apart(detector: Detector, texts: list[str]) -> None:
    """Whatever the text, findings are inside it, in order, not empty, and do not overlap."""
    at, text = 0, "".join(texts)
    for begin, end in find(detector, text):
        assert at <= begin < end <= len(text)
        at = end


PIECES = (
    "a", "1", "1 ", "1-", "+1", "+1(", "+1.", "+1.1", "@", "a@", "a@b.", "a@1.", ".1", "%41", "%40", "%", "a%40b.c",
    "4111 ", "4 ", "44444 ", "4111.", "4111_", "4111/1111/", "secretaccesskey=", "secret_access_key='a", "://a:b@b@",
    "hooks.slack.com/", "hooks.slack.com/services/a", "xai-", "r8_a",
    "4111111111111111 ", "eyJ", "eyJaaaaaa.", "eyJaaaaaa.a.", "sk-", "sk-aaaaaaaaaaaaaaaaaaaaa", "ghp_", "Bearer ",
    "bearer aaaaaaaa ", "basic a", "://", "://a:", "://a:b@", "a:b@", "-----BEGIN PRIVATE KEY-----", "PRIVATE KEY",
    "-----BEGIN A A A PRIVATE KEY-----", "-----END ", "SG.", "SG.aaaaaaaaaaaaaaaa.", "xoxb-", "whsec_", "AKIA", "ü@",
    "\u00a0", "_", "-", "\u0301", "क्", "a@क्.", "%B", "%B4111111111111111^", "xoxd-%", "AccountKey=",
)  # fmt: skip
SIZE = 1 << 15


def seconds(detector: Detector, text: str) -> float:
    """Return the processor's time for one look."""
    began = time.process_time()
    find(detector, text)
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_linear_time(detector: Detector) -> None:
    """Twice the text takes about twice the time, whatever it repeats."""
    for piece in PIECES:
        for before in ("", "eyJ", "a@", "://", "-----BEGIN PRIVATE KEY-----"):
            one, two = (before + piece * (size // len(piece)) for size in (SIZE, 2 * SIZE))
            # A quadratic pattern takes four times as long, and seconds; below some milliseconds a clock says little.
            took = seconds(detector, one)
            assert any(seconds(detector, two) < 3 * took + 0.01 for _ in range(3)), (before, piece)
