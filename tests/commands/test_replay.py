"""``modelproxy replay`` from the outside: what it does, says and exits with."""

import os
import signal
import stat
import time
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.records.reading import PayloadReader
from tests.commands.serving import answering
from tests.observer.exchanges import BASE_CONFIG
from tests.records.lines import line_of, plain_document

ANSWER = b'{"a":1}'


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["replay", *arguments])


@pytest.fixture(name="log")
def fixture_log(tmp_path: Path) -> Path:
    """Ten records, of which two cannot be sent and one was answered otherwise."""
    lines = [line_of(number, unit=f"u{number}") for number in range(10)]
    document = plain_document(3, unit="u3")
    document["response"] |= {"body": '{"a":2}'}
    lines[3] = orjson.dumps(document) + b"\n"
    for number in (5, 6):
        document = plain_document(number)
        document["request"] |= {"truncated": True}
        lines[number] = orjson.dumps(document) + b"\n"
    path = tmp_path / "log"
    path.mkdir()
    (path / "payloads.jsonl").write_bytes(b"".join(lines))
    return path


def document_of(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(result.stdout)
    return document


def test_the_whole_way(log: Path, tmp_path: Path) -> None:
    """It sends what can be sent, compares, counts what cannot, and writes a private line for each request."""
    out = tmp_path / "out.jsonl"
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--as", "json", "--out", str(out), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = document_of(result)
    assert (document["sent"], document["agree"], document["disagree"]) == (8, 7, 1)
    assert document["not_replayed"] == {"request_truncated": 2}
    assert document["replay"]["to"] == model.url
    assert [path for _, path, _, _ in model.requests] == ["/v2/models/wine/infer"] * 8
    assert len(out.read_bytes().splitlines()) == 8
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_page(log: Path) -> None:
    """People read the rate, its interval, the groups, what was left out, and what differed."""
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--as", "json", "--fail-over", "50%")
    assert result.exit_code == 0
    for text in (
        "8 requests sent again",
        "disagreement: 12.5 %, 95 % interval",
        "1 of 8 compared",
        "wine",
        "v1",
    ):
        assert text in result.stdout
    for text in ("request_truncated", "longer than log.body", "/a: 2 → 1", "limit 50 %", "passed"):
        assert text in result.stdout


GATES: dict[str, tuple[list[str], int]] = {
    "under the limit": (["--fail-over", "13%"], 0),
    "over it": (["--fail-over", "12"], 1),
    "over it, not surely": (["--fail-over", "12%", "--confident"], 0),
    "no limit": ([], 0),
    "nothing compared": (["--route", "beer"], 1),
    "nothing compared, with a limit": (["--route", "beer", "--fail-over", "100%"], 1),
}


@pytest.mark.parametrize("name", GATES)
def test_gates(log: Path, name: str) -> None:
    """The exit code tells a pipeline whether the model may go on."""
    arguments, code = GATES[name]
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--as", "json", *arguments)
    assert result.exit_code == code


def test_a_model_that_is_not_there(log: Path) -> None:
    """Nobody listens: everything failed, nothing was compared, and the build fails with a report."""
    with answering(200, ANSWER) as model:
        url = model.url
    result = run("--log", str(log), "--to", url, "--fail-over", "100%", "--json")
    assert result.exit_code == 1
    assert document_of(result)["failed"] == {"connect": 8}
    assert "does a server listen there" in run("--log", str(log), "--to", url).stdout


def test_rules_and_paths_of_a_configuration(log: Path, tmp_path: Path) -> None:
    """With a configuration its comparison and its matched paths hold, and other routes are left out."""
    (log / "more.jsonl").write_bytes(line_of(20, route="beer"))
    config = tmp_path / "modelproxy.yaml"
    config.write_text(BASE_CONFIG)
    with answering(200, ANSWER) as model:
        arguments = ("--log", str(log), "--to", f"{model.url}/new", "--config", str(config), "--json")
        plain, changed = run(*arguments), run(*arguments, "--as", "exact", "--limit", "1")
    assert document_of(plain)["not_replayed"] == {"request_truncated": 2, "unknown_route": 1}
    assert document_of(plain)["methods"] == {"classification": 8}
    assert document_of(changed)["methods"] == {"exact": 1}
    assert {path for _, path, _, _ in model.requests} == {"/new/infer"}


def test_names_that_there_are_not(log: Path, tmp_path: Path) -> None:
    """A route that no record is of is told with those that there are; one that no configuration has is usage."""
    config = tmp_path / "modelproxy.yaml"
    config.write_text(BASE_CONFIG)
    arguments = ("--log", str(log), "--to", "http://127.0.0.1:1", "--route", "wien")
    result = run(*arguments, "--variant", "v1", "--variant", "v7")
    assert result.exit_code == 1
    assert "no record is of route wien; there are: wine" in result.stdout
    assert "no record is of variant v7; there are: v1" in result.stdout
    assert document_of(run(*arguments, "--json"))["not_found"] == [
        {"what": "route", "name": "wien", "there": ["wine"]}
    ]
    refused = run(*arguments, "--config", str(config))
    assert refused.exit_code == 2
    assert "'wien' is no route of the configuration; there are: wine" in refused.stderr


def test_what_goes_along(log: Path) -> None:
    """A header that is named goes along with every request."""
    with answering(200, ANSWER) as model:
        run("--log", str(log), "--to", model.url, "--header", "Authorization: Bearer s3cr3t", "--limit", "2")
    assert [authorization for *_, authorization in model.requests] == ["Bearer s3cr3t"] * 2


def test_secrets_are_not_shown(log: Path) -> None:
    """Headers of the command line are in no report."""
    with answering(200, ANSWER) as model:
        arguments = ("--log", str(log), "--to", model.url, "--header", "authorization: Bearer s3cr3t")
        said = run(*arguments).output + run(*arguments, "--json").output
    assert "s3cr3t" not in said


def test_a_path_that_the_pattern_does_not_match(log: Path) -> None:
    """The URL's path replaces what was matched: of another path it would replace anything, so it is not sent."""
    for number, path in enumerate(("/v2/models/beer/infer", "/v2/models/wines")):
        document = plain_document(30 + number)
        document["request"] |= {"path": path}
        (log / f"other-{number}.jsonl").write_bytes(orjson.dumps(document) + b"\n")
    with answering(200, ANSWER) as model:
        arguments = ("--log", str(log), "--match", "/v2/models/wine/*", "--json")
        moved, straight = run(*arguments, "--to", f"{model.url}/new"), run(*arguments, "--to", model.url)
    assert document_of(moved)["not_replayed"] == {"path_unmatched": 2, "request_truncated": 2}
    assert document_of(straight)["not_replayed"] == {"request_truncated": 2}
    assert {path for _, path, _, _ in model.requests if path.startswith("/new")} == {"/new/infer"}


USAGE: dict[str, list[str]] = {
    "no model": [],
    "no url": ["--to", "localhost:1"],
    "a path without a route": ["--to", "http://localhost:1/v2"],
    "no such method": ["--to", "http://localhost:1", "--as", "magic"],
    "no such key": ["--to", "http://localhost:1", "--rule", "rtoll=1"],
    "no value": ["--to", "http://localhost:1", "--rule", "rtol"],
    "no yaml": ["--to", "http://localhost:1", "--rule", "ignore=[a"],
    "no header": ["--to", "http://localhost:1", "--header", "a"],
    "no name of a header": ["--to", "http://localhost:1", "--header", "a b: c"],
    "a header that frames": ["--to", "http://localhost:1", "--header", "Content-Length: 5"],
    "confident of nothing": ["--to", "http://localhost:1", "--confident"],
    "no speed": ["--to", "http://localhost:1", "--speed", "fast"],
    "no percent": ["--to", "http://localhost:1", "--fail-over", "101%"],
    "no time": ["--to", "http://localhost:1", "--since", "yesterday"],
    "a wait without gaps": ["--to", "http://localhost:1", "--max-wait", "5s"],
    "a wait at a rate": ["--to", "http://localhost:1", "--rate", "5", "--speed", "1x", "--max-wait", "5s"],
    "no wait": ["--to", "http://localhost:1", "--speed", "1x", "--max-wait", "0s"],
    "no duration": ["--to", "http://localhost:1", "--timeout", "0s"],
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(log: Path, name: str) -> None:
    """A wrong option is usage: exit code 2, and a sentence."""
    result = run("--log", str(log), *USAGE[name])
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_a_log_of_two_clocks(log: Path) -> None:
    """A record of 1970 costs the longest wait, not decades; before and after it is said what was shortened."""
    document = plain_document(4, ts="1970-01-01T00:00:01Z")
    (log / "old.jsonl").write_bytes(orjson.dumps(document) + b"\n")
    with answering(200, ANSWER) as model:
        arguments = ("--log", str(log), "--to", model.url, "--speed", "1x", "--max-wait", "100ms")
        page, found = run(*arguments), run(*arguments, "--json")
    assert page.exit_code == 0
    assert page.stderr == ("9 requests at speed 1x: about 0.1s, with 1 wait shortened to 0.1s (--max-wait)\n")
    assert "1 wait shortened: 20,778d 4h of the log's time left out" in page.stdout
    assert document_of(found)["waits"]["shortened"] == 1
    assert document_of(found)["sent"] == 9


def test_a_limit_ends_the_reading(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When enough was sent nobody looks for the record behind, which may be at the end of a long log."""
    (log / "zz.jsonl").write_bytes(line_of(40, route="rare") + line_of(50, route="beer") * 3000)
    stopped: list[object] = []
    monkeypatch.setattr(PayloadReader, "stop", lambda reader: stopped.append(reader))
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--route", "rare", "--limit", "1", "--json")
    assert (document_of(result)["sent"], len(stopped)) == (1, 1)


SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("where", ["__init__", "__iter__"])
def test_interrupted_before_anything_is_sent(
    log: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, where: str
) -> None:
    """Ctrl-C and SIGTERM while the log is looked for or looked through: a sentence, and their exit code."""

    def interrupted(*_: object, **__: object) -> NoReturn:
        os.kill(os.getpid(), number)
        time.sleep(60)
        raise AssertionError

    monkeypatch.setattr(PayloadReader, where, interrupted)
    before = signal.getsignal(signal.SIGTERM)
    result = run("--log", str(log), "--to", "http://127.0.0.1:1", "--speed", "1x")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "interrupted before anything was sent\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_log(tmp_path: Path) -> None:
    """A place without a log is refused with what was expected there."""
    result = run("--log", str(tmp_path), "--to", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no payload log there" in result.stderr


def test_an_output_that_cannot_be_written(log: Path, tmp_path: Path) -> None:
    """A file that cannot be opened ends it before a request is sent; so does one that is a link."""
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--out", str(tmp_path / "no" / "out"))
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        linked = run("--log", str(log), "--to", model.url, "--out", str(tmp_path / "link"))
    assert (result.exit_code, linked.exit_code, model.requests) == (1, 1, [])
    assert "no such file or directory" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_lines_that_a_full_disk_refuses(log: Path) -> None:
    """The run ends with the report of what there was, one sentence, and exit code 1, however late it is found out."""
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url, "--out", "/dev/full", "--json")
        for path in range(10, 15):
            (log / f"{path}.jsonl").write_bytes(
                b"".join(line_of(each) for each in range(path * 100, path * 100 + 100))
            )
        early = run("--log", str(log), "--to", model.url, "--out", "/dev/full", "--json")
    for each in (result, early):
        assert each.exit_code == 1
        assert each.stderr == "/dev/full: no space left on device; later lines are lost\n"
    assert (document_of(result)["sent"], document_of(result)["interrupted"]) == (8, False)
    assert 8 < document_of(early)["sent"] < 508
    assert document_of(early)["interrupted"]


def test_damage_is_told(log: Path) -> None:
    """What could not be read is named in the report; the rest is replayed."""
    (log / "more.jsonl").write_bytes(b"\x1b[31m{broken\n" + line_of(11))
    with answering(200, ANSWER) as model:
        result = run("--log", str(log), "--to", model.url)
    assert "1 damaged" in result.stdout
    assert "more.jsonl:1: no JSON" in result.stdout
    assert "\x1b" not in result.stdout
