"""``modelproxy disagreements``: what is asked, what is shown, and that nothing of it drives a terminal."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.control.disagreement_query import Query, parse_query
from proxy.labels import LabelCounts
from proxy.observer.disagreement_view import disagreement_document
from proxy.observer.label_store import KnownLabels
from proxy.observer.showing import Known, example_id
from tests.commands.serving import Asked, answering
from tests.observer.exchanges import table_of
from tests.observer.test_disagreement_view import CELLS, EXAMPLES, SLICED

KNOWN = {"wine": [Known("wine-v4", 0, CELLS, EXAMPLES, EXAMPLES), Known("wine-v5", 0, {}, [], [])]}


def document(query: Query | None = None) -> bytes:
    """Return what a proxy answers."""
    return orjson.dumps(disagreement_document(query or Query(), table_of(SLICED), KNOWN))


def run(asked: Asked, *arguments: str, **more: Any) -> Result:
    """Run ``modelproxy`` in this process."""
    environment = {"MODELPROXY_ADMIN": asked.url, "MODELPROXY_ADMIN_TOKEN": None, **more}
    return CliRunner().invoke(main, ["disagreements", *arguments], env=environment)


def test_what_is_asked() -> None:
    """Options become the query, which the proxy can read, and the token its header."""
    with answering(200, document()) as asked:
        run(asked, "wine", "--shadow", "a&b", "--slice", "tier:very good", "--reason", "label", "--extreme")
        run(asked, "--limit", "3", MODELPROXY_ADMIN_TOKEN="secret-of-mine")
    queries = [
        parse_query([(name, value) for name, (value,) in parse_qs(urlsplit(path).query).items()])
        for _, path, _, _ in asked.requests
    ]
    assert queries[0] == Query("wine", "a&b", "label", ("tier", "very good"), "extreme", 5, "")
    assert queries[1] == Query(limit=3)
    assert [request[3] for request in asked.requests] == [None, "Bearer secret-of-mine"]
    assert urlsplit(asked.requests[0][1]).path == "/api/v1/disagreements"


def test_what_is_shown() -> None:
    """Rate and interval, reasons, slices with what stands out, mistaken labels, examples."""
    with answering(200, document()) as asked:
        result = run(asked)
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout
    assert "route wine, shadow wine-v4" in text
    assert "100 of 1,000 pairs disagree: 10.00%" in text
    assert "mean distance 0.04 (0.0" in text
    assert "because of: label 80, format 20" in text
    assert "not compared: truncated 7" in text
    (gold,) = [line for line in text.splitlines() if line.split()[:1] == ["gold"]]
    assert "disagrees more than the others" in gold
    assert text.count("disagrees more than the others") == 1
    assert ["dog", "cat", "90"] in [line.split() for line in text.splitlines()]
    assert example_id(EXAMPLES[0]) in text
    assert "/label/0: 1 / 2" in text
    assert "nothing was compared yet" in text


NOISE: dict[str, Any] = {
    "triples": 1000,
    "left_out": 4,
    "excess": 0.005,
    "low": -0.0512,
    "high": 0.061,
    "evidence_log10": -0.93,
    "is_more": False,
    "sentence": "no evidence of a difference",
    "fields": [
        {"path": "/score", "candidate": 60, "champion": 1, "both": 0, "is_above_noise": True},
        {"path": "", "candidate": 20, "champion": 74, "both": 545, "is_above_noise": False},
    ],
}


def test_noise_is_shown() -> None:
    """The rate stands beside the champion's own noise, in figures and words; or it is said that nobody knows it."""
    noisy = disagreement_document(Query(), table_of(SLICED), KNOWN, {("wine", "wine-v4"): NOISE})
    with answering(200, orjson.dumps(noisy)) as asked:
        text = run(asked).stdout
    assert "1,000 requests asked twice, 4 left out: no evidence of a difference" in text
    assert "above noise: 0.50% (-5.12% to 6.10% with 95% confidence at any time), log10 e -0.9" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["/score", "60", "1", "0", "differs", "above", "noise"] in rows
    assert ["the", "answer", "20", "74", "545"] in rows
    with answering(200, document()) as asked:
        text = " ".join(run(asked).stdout.split())
    assert "the champion's own noise is not measured" in text
    assert "compare: {noise: 5} asks the champion a second time" in text


def test_true_answers() -> None:
    """Who was right how often, who is better, and which rows of which requests are to be labelled."""
    counts = LabelCounts(40, 30, 4, 6, 0, 0, 0, 8, 7, 1, 2, won_primary=9, won_shadow=1)
    labels = {"wine": [KnownLabels("wine-v4", "v1", counts), KnownLabels("wine-v4", "v2", LabelCounts())]}
    told = orjson.loads(orjson.dumps(disagreement_document(Query(), table_of(SLICED), KNOWN, labels=labels)))
    shadow = told["routes"][0]["shadows"][0]
    shadow["examples"][0] |= {"differing_rows": [0, 3], "request_id": "req-7"}
    with answering(200, orjson.dumps(told)) as asked:
        text = run(asked, COLUMNS="200").stdout
        one = run(asked, "--example", "x").stdout
    rows = [line.split() for line in text.splitlines()]
    assert ["v1", "80", "83.33%"] in [row[:3] for row in rows]
    assert ["v2", "0", "–"] in [row[:3] for row in rows]
    assert "beside v1: not shown to be better or worse: worse at 9 and better at 1 of 10 units" in text
    assert any("req-7" in row and "0,3" in row for row in rows)
    assert "differ: 0,3" in one
    with answering(200, document()) as asked:
        assert "labelled" not in run(asked).stdout


def test_one_example() -> None:
    """Both answers stand beside the request, field by field."""
    name = example_id(EXAMPLES[0])
    with answering(200, document(Query(example=name))) as asked:
        text = run(asked, "--example", name).stdout
    assert f"example {name}" in text
    assert ["/label/0", "1", "2"] in [line.split() for line in text.splitlines()]
    assert '{"inputs":[]}' in text
    assert '"data":[1]' in text
    assert '"data":[2]' in text
    assert "POST /v2/models/wine/infer" in text


def changed(**changes: Any) -> bytes:
    """Return the answer for one example, changed."""
    told = orjson.loads(document(Query(example=example_id(EXAMPLES[0]))))
    told["routes"][0]["shadows"][0]["examples"][0] |= changes
    return orjson.dumps(told)


UNSHOWN: dict[str, tuple[dict[str, Any], str]] = {
    "no request": ({"request": None}, "request: did not go along (compare.examples)"),
    "stripped": ({"response": {"status": 200}, "omitted": "too large"}, "left out: too large"),
    "bytes": (
        {"response": {"status": 200, "content_type": "image/png", "body": "AAH/", "encoding": "base64"}},
        "the client got: 200 image/png, bytes in base64",
    ),
    "free text": (
        {"response": {"status": 200, "size": 7, "body": None, "withheld": True}},
        "7 bytes, free text is not shown (log.content)",
    ),
    "unreadable": (
        {"response": {"status": 200, "size": 7, "body": None, "redacted": True}},
        "7 bytes, cannot be redacted",
    ),
    "long": ({"response": {"status": 200, "size": 9, "body": "x" * 9000}}, "xx …"),
}


@pytest.mark.parametrize(("changes", "words"), UNSHOWN.values(), ids=UNSHOWN)
def test_what_is_not_shown_is_said(changes: dict[str, Any], words: str) -> None:
    """Whoever misses a body learns why it is missing."""
    with answering(200, changed(**changes)) as asked:
        result = run(asked, "--example", "x")
    assert result.exit_code == 0
    assert words in result.stdout


def test_as_json() -> None:
    """Machines get the document as it is."""
    with answering(200, document()) as asked:
        assert orjson.loads(run(asked, "--json").stdout) == orjson.loads(document())


def test_nothing_drives_the_terminal() -> None:
    """What clients and models wrote is text, and no more."""
    junk = "\x1b[31m\x9b1m\r[bold]"
    told = orjson.loads(
        changed(request_id=junk, differences=[{"path": junk, "primary": junk, "shadow": junk}])
    )
    shadow = told["routes"][0]["shadows"][0]
    shadow["slices"]["tier"][0]["value"] = junk
    shadow["confusion"][0]["label"] = junk
    shadow["examples"][0]["request"]["body"] = junk
    for arguments in ([], ["--example", "x"]):
        with answering(200, orjson.dumps(told)) as asked:
            text = run(asked, *arguments).stdout
        assert "[bold]" in text
        assert not set("\x1b\x9b\r") & set(text)


def test_a_locale_without_letters() -> None:
    """What cannot be written as the locale has it is a question mark, and the rest is shown."""
    told = orjson.loads(document())
    told["routes"][0]["shadows"][0]["slices"]["tier"][0]["value"] = "gold 金"
    with answering(200, orjson.dumps(told)) as asked:
        environment = {"MODELPROXY_ADMIN": asked.url, "MODELPROXY_ADMIN_TOKEN": None}
        result = CliRunner(charset="ascii").invoke(main, ["disagreements"], env=environment)
    assert (result.exit_code, result.exception) == (0, None)
    assert "gold ?" in result.stdout


def test_a_slice_with_many_values() -> None:
    """The terminal shows twenty values and how many more there are; evidence is never minus nothing."""
    told = orjson.loads(document())
    slices = told["routes"][0]["shadows"][0]["slices"]
    slices["tier"] = [{**slices["tier"][0], "value": f"t{i}", "log10_e": -0.04} for i in range(50)]
    with answering(200, orjson.dumps(told)) as asked:
        text = run(asked).stdout
    assert [f"t{i}" for i in range(50) if f" t{i} " in text] == [f"t{i}" for i in range(20)]
    assert "and 30 more values of tier: --json" in text
    assert "-0.0" not in text


REFUSALS: dict[str, tuple[int, bytes, str]] = {
    "no such route": (404, b'{"error": "no route is called x; there are: wine"}', "no route is called x"),
    "no token": (401, b'{"error": "reading this needs a token"}', "give --token or MODELPROXY_ADMIN_TOKEN"),
    "not ready": (503, b'{"error": "no configuration is in force yet"}', "no configuration is in force yet"),
    "something else": (200, b"<html>", "is no admin address of modelproxy"),
    "an old proxy": (404, b"gone", "is no admin address of modelproxy"),
}


@pytest.mark.parametrize(("code", "body", "words"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(code: int, body: bytes, words: str) -> None:
    """What cannot be shown is one sentence and exit code 1."""
    with answering(code, body) as asked:
        result = run(asked, "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


@pytest.mark.parametrize("limit", ["-1", "101", "x"])
def test_wrong_usage(limit: str) -> None:
    """A limit that is none is wrong usage, and nobody is asked."""
    with answering(200, document()) as asked:
        assert run(asked, "--limit", limit).exit_code == 2
        assert asked.requests == []


def test_without_any_shadow() -> None:
    """Where nothing is compared, it is said what to write."""
    with answering(200, b'{"confidence": 0.95, "routes": []}') as asked:
        assert "a route needs shadows" in run(asked).stdout
