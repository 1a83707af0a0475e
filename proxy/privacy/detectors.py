"""Persons and secrets in free text, told by their form: e-mail addresses, payment cards, tokens, telephone numbers.

Pure. Only forms with a mark of their own are looked for: a prefix that its issuer publishes, a check digit, a sign.
What is found is taken out for good, and a detector that also took hashes, request ids and embeddings would be switched
off: so there is none for "long and random", none for telephone numbers without their ``+``.

Every pattern takes linear time, whatever the text: it begins where no other attempt at the same run of characters can
begin (a lookbehind), and it gives back what it took at most once. Possessive quantifiers stand behind sets of
characters alone: of groups CPython takes them wrongly before 3.11.5 (python/cpython#106052).

Why not a library: ``detect-secrets`` reads lines of source code and tells what it found, not where; ``presidio`` and
``scrubadub`` come with language models and take milliseconds for a sentence; a linear engine such as RE2 has no
lookbehind. What is left is a dozen forms, and they are public: the source stands at each.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeAlias

__all__ = ["DETECTORS", "Detector", "Span", "find", "is_card_number", "is_named_secret"]

Detector: TypeAlias = Literal["email", "card", "token", "phone"]

Span: TypeAlias = tuple[int, int]
"""Where a finding begins, and where the text goes on behind it."""

# RFC 5322 section 3.2.3 (atoms) without the signs that part the pieces of a URL, letters of any language (RFC 6531),
# and escapes, because in a URL the sign is %40. The domain has two labels at least, the last begins with a letter:
# "numpy@1.26" is no address.
_MARKS: Final = (
    r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u109f\u1780-\u17ff"
)
r"""Marks above, below and between letters, which Python does not count as part of a word: of accents that stand by
themselves (Unicode's form NFD), of Hebrew, of Arabic, and of the scripts of India and its neighbours."""
_LETTER: Final = rf"[\w{_MARKS}-]"
_ATOM: Final = rf"[\w{_MARKS}.+!#$*^{{|}}~'-]"
_EMAIL: Final = re.compile(
    rf"(?:(?<=%40)|(?<!{_ATOM})(?<!%(?=[0-9A-Fa-f]{{2}})))"
    rf"(?:{_ATOM}|%(?!40)[0-9A-Fa-f]{{2}})+"
    r"(?:@|%40)"
    rf"[^\W_]{_LETTER}*+(?:\.[^\W_]{_LETTER}*+)*?\.[^\W\d_]{_LETTER}++(?:\.[^\W\d_]{_LETTER}++)*"
)

_DIGIT_RUN: Final = re.compile(r"(?<!\d)(?<!\d[ \u00a0-])(?<!\d\.)\d(?:[ \u00a0-]?\d)*")
"""Digits in groups, such as ``4111 1111-1111 1111``. What stands behind a decimal point is a fraction."""

_DIGIT_GROUP: Final = re.compile(r"\d++")

_MARKED_GROUPS: Final = re.compile(
    r"(?<![\w.])\d{4}([._/])\d{4}(?:\d\d\1\d{5}|\1\d{4}\1\d{4}(?:\1\d{3})?)(?!\1?\w)"
)
"""The same with signs that part other numbers as well: in the ways in which cards are printed alone."""

_CARD_DIGITS: Final = range(13, 20)
"""ISO/IEC 7812-1 section 4.1 allows 19 digits at most; the issuers below have given 13 at least."""

_CARD_GROUPS: Final = 5
"""4-4-4-4-3 is the longest way in which card numbers are printed, and all begin with four digits. So a text of numbers
costs no more than a few looks at each of its groups."""
_CARD_FIRST_GROUP: Final = 4

_PHONE: Final = re.compile(
    r"(?<![\w+])\+(?!\d\.(?!\d{10}(?!\d))\d++(?![ \u00a0()/.-]*\d))[1-9](?:[ \u00a0()/.-]{0,2}\d){7,15}(?!\d)"
)
"""International form: a plus sign, up to 15 digits (ITU-T E.164 section 6.1; 16 with a "(0)"), in groups (E.123).
A figure before the point is a measurement with its sign, unless ten are behind it (+1.5551234567: RFC 5733, section
2.5)."""

_CREDENTIALS: Final = re.compile(
    r"(?<![A-Za-z])(?i:bearer|basic)[ \t]++(?=[a-z._~+/-]*+[A-Z0-9=])([A-Za-z0-9._~+/-]{8,}+=*+)"
)
"""RFC 6750 section 2.1 and RFC 7617 section 2. Prose ("basic understanding") is lower-case all through."""

_USER_INFO: Final = re.compile(r"(?<=://)[^\s/:@?#]*+:([^\s/?#]*[^\s/?#@])@")
"""The password of a URL (RFC 3986 section 3.2.1), which may hold the sign behind it, as browsers read it."""

_SECRET_ACCESS_KEY: Final = re.compile(
    r"(?i:secret[_-]?access[_-]?key)[\"']?[ ]?[:=][ ]?[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"
)
"""AWS: nothing but the name in front of it, as in the file and the variables of its tools, tells of this one."""

_JSON_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+){2,4}")
"""JWS and JWE in compact form (RFC 7515 section 3.1, RFC 7516 section 3.1), and with them JWT (RFC 7519): the first
part is the base64url of a JSON object, so it begins with that of ``{"``."""

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----END )[\s\S])*(?:-----END [A-Z0-9 ]{0,64}-----)?"
)
"""RFC 7468 sections 10 and 11, and older forms of OpenSSL, OpenSSH and OpenPGP; to the end of the text if it is cut."""

_ISSUED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_[A-Za-z0-9]{36,}+"  # GitHub: "About authentication to GitHub", token formats
    r"|github_pat_[A-Za-z0-9_]{36,}+"
    r"|glpat-[A-Za-z0-9_.-]{20,}+"  # GitLab: "Token overview", token prefixes
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS IAM: "Understanding unique ID prefixes"
    r"|AIza[A-Za-z0-9_-]{35,}+"  # Google Cloud: API keys
    r"|ya29\.[A-Za-z0-9_.-]{20,}+"  # Google: OAuth 2.0 access tokens
    r"|GOCSPX-[A-Za-z0-9_-]{20,}+"  # Google: OAuth 2.0 client secrets
    r"|AccountKey=[A-Za-z0-9+/]{40,}+=*+"  # Azure Storage: "Configure connection strings"
    r"|sk-(?=[a-z_-]{0,64}+[A-Z0-9])[A-Za-z0-9_-]{20,}+"  # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-)
    r"|gsk_[A-Za-z0-9]{32,}+"  # Groq
    r"|(?:xai|pplx|nvapi)-[A-Za-z0-9_-]{40,}+"  # xAI, Perplexity, NVIDIA
    r"|r8_[A-Za-z0-9]{37,}+"  # Replicate: "API tokens"
    r"|(?:hf|api_org)_[A-Za-z0-9]{30,}+"  # Hugging Face: "User access tokens"
    r"|hvs\.[A-Za-z0-9_-]{24,}+"  # HashiCorp Vault: "Tokens"
    r"|dckr_pat_[A-Za-z0-9_-]{20,}+"  # Docker: personal access tokens
    r"|lsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}+"  # LangSmith: API keys
    r"|pcsk_[A-Za-z0-9_]{32,}+"  # Pinecone: API keys
    r"|dapi[a-f0-9]{32}(?:-\d)?"  # Databricks: personal access tokens
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}+"  # Stripe: "API keys"
    r"|whsec_[A-Za-z0-9+/_-]{24,}+=*+"  # Standard Webhooks, "Signature scheme"
    r"|xox[a-eoprs]-[A-Za-z0-9%-]{10,}+"  # Slack: "Tokens"; those of its own pages too
    r"|xapp-[A-Za-z0-9-]{10,}+"
    r"|hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}+"  # Slack: "Sending messages using webhooks"
    r"|ATATT3[A-Za-z0-9_=-]{40,}+"  # Atlassian: API tokens
    r"|do[oprt]_v1_[a-f0-9]{64}"  # DigitalOcean: "API tokens"
    r"|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"  # Shopify: access tokens
    r"|npm_[A-Za-z0-9]{36,}+"  # npm: "About access tokens"
    r"|pypi-[A-Za-z0-9_-]{32,}+"  # PyPI: a macaroon in base64url
    r"|SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+"  # SendGrid: "API keys"
    r")"
)


def _emails(text: str) -> Iterator[Span]:
    if "@" in text or "%40" in text:
        for found in _EMAIL.finditer(text):
            yield found.span()


def _cards(text: str) -> Iterator[Span]:
    for run in _DIGIT_RUN.finditer(text):
        if run.end() - run.start() >= _CARD_DIGITS.start:
            yield from _cards_of_run(text, run)
    if "." in text or "/" in text or "_" in text:
        for marked in _MARKED_GROUPS.finditer(text):
            if is_card_number(marked[0].replace(marked[1], "")):
                yield marked.span()


def _cards_of_run(text: str, run: re.Match[str]) -> Iterator[Span]:
    """Yield the numbers that begin and end with groups of ``run``: before and behind them other digits may stand.

    They are no part of a word, but for the sign with which a card's first track begins (ISO/IEC 7813 section 6).
    """
    groups = [group.span() for group in _DIGIT_GROUP.finditer(text, run.start(), run.end())]
    if run.start() and text[run.start() - 1].isalnum() and not text.startswith("%B", run.start() - 2):
        groups = groups[1:]
    if run.end() < len(text) and text[run.end()].isalnum():
        groups = groups[:-1]
    first = 0
    while first < len(groups):
        last = _longest_card(text, groups, first)
        if last is not None:
            yield groups[first][0], groups[last][1]
        first = first + 1 if last is None else last + 1


def _longest_card(text: str, groups: list[Span], first: int) -> int | None:
    """Return the last group of the longest card number that begins with the group ``first``."""
    digits, best = "", None
    for at in range(first, min(len(groups), first + _CARD_GROUPS)):
        begin, end = groups[at]
        if at == first and end - begin < _CARD_FIRST_GROUP:
            break
        if len(digits) + end - begin > _CARD_DIGITS.stop - 1:
            break
        digits += text[begin:end]
        if is_card_number(digits):
            best = at
    return best


def is_card_number(digits: str) -> bool:
    """Tell whether ``digits`` is the number of a payment card: its issuer's prefix, its length and its check digit.

    The check digit is that of ISO/IEC 7812-1 annex B (Luhn); one in ten other numbers has it too.
    """
    if len(digits) not in _CARD_DIGITS or not digits.isdecimal():
        return False
    prefix = int(digits[:4])
    return any(prefix in prefixes and len(digits) in lengths for prefixes, lengths in _ISSUERS) and _luhn(
        digits
    )


def _luhn(digits: str) -> bool:
    """Whether the sum is a multiple of 10 in which every second digit from the right counts twice, digit by digit."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_ISSUERS: Final = (
    (range(4000, 5000), frozenset({13, 16, 19})),  # Visa
    (range(5100, 5600), frozenset({16})),  # Mastercard
    (range(2221, 2721), frozenset({16})),
    (range(3400, 3500), frozenset({15})),  # American Express
    (range(3700, 3800), frozenset({15})),
    (range(6011, 6012), frozenset(range(16, 20))),  # Discover
    (range(6440, 6600), frozenset(range(16, 20))),
    (range(3000, 3060), frozenset(range(14, 20))),  # Diners Club
    (range(3600, 3700), frozenset(range(14, 20))),
    (range(3800, 4000), frozenset(range(14, 20))),
    (range(3528, 3590), frozenset(range(16, 20))),  # JCB
    (range(6200, 6300), frozenset(range(16, 20))),  # UnionPay
    (range(5000, 5100), frozenset(range(13, 20))),  # Maestro
    (range(5600, 5900), frozenset(range(13, 20))),
    (range(6300, 6400), frozenset(range(13, 20))),
    (range(6700, 6800), frozenset(range(13, 20))),
)
"""First four digits and number of digits, as the card schemes publish them."""


def _tokens(text: str) -> Iterator[Span]:
    """Yield what each form finds; two may find the same place."""
    if "PRIVATE KEY" in text:
        yield from (found.span() for found in _PRIVATE_KEY.finditer(text))
    if "eyJ" in text:
        yield from (found.span() for found in _JSON_TOKEN.finditer(text))
    if "://" in text:
        yield from (found.span(1) for found in _USER_INFO.finditer(text))
    if " " in text or "\t" in text:
        yield from (found.span(1) for found in _CREDENTIALS.finditer(text))
    yield from (found.span(1) for found in _SECRET_ACCESS_KEY.finditer(text))
    yield from (found.span() for found in _ISSUED.finditer(text))


def is_named_secret(name: str, value: str) -> bool:
    """Tell whether a member of an object is a secret that only its name gives away."""
    return len(value) == _SECRET_LENGTH and _SECRET_ACCESS_KEY.search(f"{name}={value}") is not None


_SECRET_LENGTH: Final = 40


def _phones(text: str) -> Iterator[Span]:
    if "+" in text:
        yield from (found.span() for found in _PHONE.finditer(text))


DETECTORS: Final[Mapping[Detector, Callable[[str], Iterator[Span]]]] = {
    "email": _emails,
    "card": _cards,
    "token": _tokens,
    "phone": _phones,
}


def find(detector: Detector, text: str) -> list[Span]:
    """Return where ``text`` holds what ``detector`` looks for: in order, and where two overlap, as one."""
    merged: list[Span] = []
    for begin, end in sorted(DETECTORS[detector](text)):
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged
