"""The dashboard holds all it needs, trusts nothing it shows, and reads nothing that is not there."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from math import isclose, log
from typing import Any

import orjson
import pytest

from proxy.control.dashboard import CONTENT_SECURITY_POLICY, PAGE, build_policy
from proxy.control.disagreement_query import MAX_LIMIT
from proxy.control.disagreement_schema import disagreements_schema
from proxy.engine.evidence_view import Seen, evidence_document
from proxy.engine.judging import point
from proxy.engine.rollout_view import rollout_document
from proxy.labels import OUTCOMES
from proxy.rollout import decide
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Verdict
from proxy.settings import Metric
from tests.control.rollout_world import START_NS, entry_of, settings_of
from tests.engine.test_evidence_view import dossier
from tests.engine.test_judging import judged

TEXT = PAGE.decode()
SCRIPT = TEXT.partition("<script>")[2].partition("</script>")[0]


def test_policy_names_each_inline_part() -> None:
    """The digest of every inline style and script is in the policy, so the page works under it."""
    page = b"<style>a</style><script>b</script><script>c\n</script>"
    for content in (b"a", b"b", b"c\n"):
        assert f"'sha256-{b64encode(sha256(content).digest()).decode()}'" in build_policy(page)
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; style-src 'sha256-")


def test_nothing_comes_from_elsewhere() -> None:
    """The page loads nothing: no source, no import, no address but the proxy's own."""
    outside = set(re.findall(r"https?://[^\s\"']+", TEXT)) - {"http://www.w3.org/2000/svg"}
    assert set() == outside
    assert re.findall(r"\bsrc=|@import|url\(", TEXT) == []
    assert re.findall(r'fetch\("([^"?]+)', TEXT) == [
        "/api/v1/routes/",
        "/api/v1/disagreements",
        "/api/v1/status",
    ]
    assert TEXT.count("fetch(") == 3


def test_nothing_shown_is_read_as_markup() -> None:
    """Names from the configuration reach the page as text, never as HTML or as code."""
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", TEXT) == []
    )
    assert re.findall(r"<[^>]+\s(on\w+|style)=", TEXT.partition("<script>")[0]) == []
    assert re.findall(r"\"(?:style|on\w+|href)\":|[{ ](?:style|on\w+|href): ", SCRIPT) == []


def test_it_only_reads() -> None:
    """The page changes nothing: what moves a rollout is left to those who have the token."""
    assert re.findall(r"(?<!\.)\bmethod\b|POST|XMLHttpRequest|sendBeacon|<form", TEXT) == []


def test_drawings_have_words() -> None:
    """Whoever does not see a drawing is told what it shows, or that it shows nothing of its own."""
    drawings = re.findall(r'drawn\("svg", \{([^}]*)\}', SCRIPT)
    assert len(drawings) == 3
    for attributes in drawings:
        assert "aria-hidden" in attributes or ('role: "img"' in attributes and "aria-label" in attributes)
    for role in re.findall(r'\{([^}]*role: "(?:meter|progressbar)"[^}]*)\}', SCRIPT):
        assert {"aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"} <= set(
            re.findall(r"aria-\w+", role)
        )


def disagreement_schema() -> dict[str, Any]:
    """Return the schema of what is told of a route's disagreements."""
    schema: dict[str, Any] = disagreements_schema()["properties"]["routes"]["items"]["properties"]
    return schema


def book_of(route: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what is told of one shadow."""
    shadow: dict[str, Any] = route["shadows"]["items"]
    return shadow


def fields() -> dict[str, Iterable[str]]:
    """What the documents have, by the name that the page has for each part."""
    settings = settings_of()
    told = {"states": [entry_of(settings).state.document()], "clock_offset_ns": START_NS}
    rollout = rollout_document(settings, settings.routes[0], {"rollouts": told}, {})
    found = judged(errors=20)
    evidence = evidence_document(Seen.of(dossier()), found, [], "")
    assert rollout is not None
    book = book_of(disagreement_schema())
    return {
        "book": book["properties"],
        "sliced": book["properties"]["slices"]["additionalProperties"]["items"]["properties"],
        "noise": book["properties"]["noise"]["anyOf"][0]["properties"],
        "field": book["properties"]["noise"]["anyOf"][0]["properties"]["fields"]["items"]["properties"],
        "mistake": book["properties"]["confusion"]["items"]["properties"],
        "labelled": (labelled := book["properties"]["labels"]["items"]["properties"]),
        "answered": labelled["primary"]["properties"],
        "better": labelled["differing_units"]["properties"],
        "example": book["properties"]["examples"]["items"]["properties"],
        "differing": {"path", "primary", "shadow"},
        "rollout": rollout,
        "judgement": found.document,
        "decision": found.document,
        "promoted": found.document,
        "need": judged().document["needs"][0],
        "evidence": evidence,
        "plan": evidence["plan"],
        "guardrail": evidence["guardrails"][0],
        "rule": evidence["plan"]["guardrails"][0],
        "epoch": evidence["epochs"][0],
        "point": orjson.loads(point(found)),
    }


@pytest.mark.parametrize("part", fields())
def test_what_it_reads_is_there(part: str) -> None:
    """Every field that the page reads of a rollout and its evidence is one that the documents have."""
    read = set(re.findall(rf"(?<![\w.]){part}\??\.(\w+)", SCRIPT))
    assert read, f"the page reads nothing of {part}"
    assert read - set(fields()[part]) == set()


@pytest.mark.parametrize(
    "part", ["units", "requests", "errors", "client_errors", "abandoned", "p50_ms", "share"]
)
def test_counts_of_a_split_are_there(part: str) -> None:
    """What is shown of a split by fixed weights is counted for each variant of each epoch."""
    assert part in SCRIPT
    assert part in evidence_document(Seen.of(dossier()), None, [], "")["epochs"][0]["variants"][0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("PHASES", Phase),
        ("VERDICTS", Verdict),
        ("METRICS", Metric),
        ("PROBLEMS", decide._UNSOUND),
    ],
)
def test_every_word_has_words(table: str, words: Iterable[str]) -> None:
    """There is plain English for each phase, verdict, metric and problem, and for nothing else."""
    (literal,) = re.findall(rf"const {table} = \{{(.*?)\}};", SCRIPT, re.DOTALL)
    assert set(re.findall(r"(\w+): [\"\[]", literal)) == set(map(str, words))


def test_thresholds_are_the_engine_s() -> None:
    """Bars end where the engine decides."""
    (broken, suspicious) = re.findall(r"BROKEN_COIN = (\d+), SUSPICIOUS = Math\.log10\((\d+)\)", SCRIPT)[0]
    assert isclose(int(broken) * log(10), decide.SRM)
    assert isclose(log(int(suspicious)), decide.SUSPICION)


def test_what_it_asks_of_disagreements_can_be_asked() -> None:
    """It asks for a few examples, of one route at a time, and says what to do where a token is needed."""
    (asked,) = re.findall(r"SHOWN_EXAMPLES = (\d+)", SCRIPT)
    assert 0 < int(asked) <= MAX_LIMIT
    assert (
        '"/api/v1/disagreements?limit=" + SHOWN_EXAMPLES + "&route=" + encodeURIComponent(route.name)'
        in SCRIPT
    )
    assert "response.status === 401" in SCRIPT
    assert "modelproxy disagreements" in SCRIPT
    read = set(re.findall(r"(?<![\w.])told\.(shadows|slices|examples_percent)\b", SCRIPT))
    assert read <= set(disagreement_schema())


def test_true_answers_are_shown_where_there_are_some() -> None:
    """The part about labels is left out without any, and reads rows by outcomes that there are."""
    part = SCRIPT.partition("function labelsPart(book) {")[2].partition("\n}\n")[0]
    assert part.lstrip().startswith("if (!book.labels.length) return null;")
    assert (
        set(re.findall(r"rows\.(\w+)", part))
        == {"primary_closer", "shadow_closer", "as_close"}
        <= set(OUTCOMES)
    )
