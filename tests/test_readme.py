"""README.md says what is true: its examples run, its tables are those of the sources."""

import ast
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

import proxy
from proxy.cli import COMMANDS, main
from proxy.compare import DECODED_CAP_BYTES, Answer, ComparisonRule, compare
from proxy.control.openapi import build_openapi
from proxy.methods import METHODS
from proxy.model import DROPS, FAULT_STATUS, Fault, Role
from proxy.observer.metrics import FAMILIES
from proxy.observer.record import build_record, compile_record_rule
from proxy.settings import parse, parse_with_source, warnings
from proxy.settings.fields import RESTART, Section, reload_of
from proxy.settings.schema import Settings
from proxy.settings.sinks import KEYS
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part, table_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_CONFIG_LINES = 25


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """Return the text under a heading of the second level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row in ``text``, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def between(text: str, start: str, end: str) -> str:
    """Return what stands between two texts."""
    return text.split(start, 1)[1].split(end, 1)[0]


# The configuration and what the commands say of it


CONFIG, RULES, EMBEDDER, SINKS, REDACTED, ROLLOUT = blocks("yaml")


@pytest.fixture(name="config")
def fixture_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example as ``modelproxy.yaml`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "modelproxy.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_the_rollout_that_is_written_out_is_the_default() -> None:
    """What the plan of the example says is what ``rollout: {}`` means."""
    head = CONFIG.split("    variants:\n", 1)[0]
    written, bare = (
        parse_with_source(head + variants, environ={}, source="README.md")[0].routes[0].rollout_variant
        for variants in (ROLLOUT, re.sub(r"rollout:.*", "rollout: {}\n", ROLLOUT, flags=re.DOTALL))
    )
    assert written is not None
    assert written == bare


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_configuration() -> None:
    """The example is short, valid, leaves nothing to warn of, and has one of everything."""
    settings, source = parse_with_source(CONFIG, environ={})
    assert len(CONFIG.splitlines()) <= MAX_CONFIG_LINES
    assert warnings(settings, source) == ()
    (route,) = settings.routes
    assert [variant.role for variant in route.variants] == list(Role)
    assert route.shadows
    assert route.log.percent == Decimal(5)
    assert route.compare.as_ == "classification"


@pytest.mark.usefixtures("config")
def test_what_explain_says() -> None:
    """The excerpt is what ``explain`` prints for that request."""
    example = blocks("console")[1]
    command, _, excerpt = example.partition("\n")
    assert command.startswith("$ modelproxy explain modelproxy.yaml --path /v2/models/wine/infer --header")
    header = between(command, "--header '", "'")
    result = run("explain", "modelproxy.yaml", "--path", "/v2/models/wine/infer", "--header", header)
    said = orjson.loads(result.stdout)
    assert {key: said[key] for key in orjson.loads(excerpt)} == orjson.loads(excerpt)


def test_what_plan_says(config: Path, tmp_path: Path) -> None:
    """The example is the beginning of what ``plan`` prints, blank lines and rules left out."""
    command, *expected = blocks("console")[0].splitlines()
    assert command == "$ modelproxy plan modelproxy.yaml changed.yaml --units users.txt"
    (tmp_path / "changed.yaml").write_text(CONFIG.replace("weight: 5}", "weight: 20}"), encoding="utf-8")
    (tmp_path / "users.txt").write_text("".join(f"user-{i}\n" for i in range(1, 2001)))
    result = run("plan", config.name, "changed.yaml", "--units", "users.txt")
    printed = [line.split() for line in result.stdout.splitlines() if line.strip(" ─")]
    assert printed[: len(expected)] == [line.split() for line in expected]


def test_what_validate_says(config: Path) -> None:
    """The example of a wrong file is what ``validate`` prints for three mistakes in it."""
    broken = CONFIG
    for right, wrong in (("5s}", "5}"), ("model: wine-v2", "model: wine-v9"), ("weight: 5}", "weight: 120}")):
        assert right in broken
        broken = broken.replace(right, wrong)
    config.write_text(broken, encoding="utf-8")
    result = run("validate", config.name)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:3] == blocks("text")[0].splitlines()


def test_commands() -> None:
    """The commands in the table are those there are; the options named exist."""
    table = rows(section("Command line"))
    documented = {quoted(cells[0])[0].split()[1]: " ".join(cells) for cells in table if "`" in cells[0]}
    assert set(documented) == set(COMMANDS)
    for name, text in documented.items():
        options = re.findall(r"--[a-z-]+", text)
        known = run(name, "--help").stdout
        assert [option for option in options if option not in known] == []
    with_json = {name for name in COMMANDS if "--json" in run(name, "--help").stdout}
    assert {*quoted(between(section("Command line"), "\n\n`validate`", "take `--json`")), "validate"} == (
        with_json - {"explain"}
    )


def test_shell_examples() -> None:
    """Every command in a shell example is one of ours, or a verb of the Makefile."""
    text = "\n".join(blocks("sh"))
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.findall(r"^make (\S+)", text, re.MULTILINE) + re.findall(r"`make (\S+)`", README)
    assert verbs
    assert [verb for verb in verbs if f"\n{verb}:" not in makefile] == []
    assert set(re.findall(r"\bmodelproxy (\w+) \S", text)) <= set(COMMANDS)


def test_named_files_exist() -> None:
    """Every file of the project that is named is there."""
    names = re.findall(r"\b((?:proxy|config|tests|benchmarks)/[\w./-]+\.\w+)", README)
    names += [name for name in ("Dockerfile", "constraints.txt") if name in README]
    assert len(names) > 20
    assert sorted({name for name in names if not (ROOT / name).exists()}) == []


def test_links_lead_somewhere() -> None:
    """Every link inside the page names one of its headings, and every heading is linked."""
    headings = [title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", README, re.MULTILINE)]
    assert re.findall(r"\]\(#([\w-]+)\)", README) == headings


def test_the_road_is_the_package_s() -> None:
    """The picture is the one in the package's docstring."""
    picture = blocks("text")[1].splitlines()
    documented = (proxy.__doc__ or "").splitlines()
    indent = 4  # a literal block; the source is indented by that much
    assert [line.rstrip() for line in picture] == [
        line[indent:].rstrip()
        for line in documented[documented.index("One road, one direction::") + 2 :][: len(picture)]
    ]


# Settings


def fields(kind: type[Section] = Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its field; entries of lists and of ``models`` go by their list."""
    for name, field in kind.model_fields.items():
        key = f"{path}.{field.alias or name}".lstrip(".")
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
        yield key, field
        if inner is not None:
            yield from fields(inner, key)


FIELDS = dict(fields())
DOCUMENTED = {
    quoted(cells[0])[0]: quoted(cells[1])[0]
    for cells in rows(section("Behaviour"))
    if len(cells) == 3 and re.fullmatch(r"`[a-z_.]+`", cells[0])
}


@pytest.mark.parametrize("key", DOCUMENTED)
def test_defaults(key: str) -> None:
    """A default in the table of limits is that of the settings."""
    assert DOCUMENTED[key] == str(FIELDS[key].default)


@pytest.mark.parametrize(
    "group", ["timeouts", "limits", "models", "routes", "routes.shadows", "observer", "payload_log"]
)
def test_no_limit_is_forgotten(group: str) -> None:
    """Every key of a group whose default is a duration, a size or a count stands in the table of limits."""
    bounds = {
        key
        for key, field in FIELDS.items()
        if key.rpartition(".")[0] == group
        and re.fullmatch(r"\d+(ms|s|m|h|B|KiB|MiB|GiB)?", str(field.default))
        and not key.endswith("percent")
    }
    assert bounds <= set(DOCUMENTED)
    assert bounds


def test_what_needs_a_restart() -> None:
    """The keys that only a restart takes up are those of the settings."""
    said = between(" ".join(section("Behaviour").split()), "refused with that sentence:", ". **Drain")
    expected = {key for key, field in FIELDS.items() if reload_of(field) == RESTART}
    expected -= {key for key in expected if key.rpartition(".")[0] in expected}  # it is the list that changes
    assert set(quoted(said)) == expected


def test_keys_that_are_named_exist() -> None:
    """Every word that looks like a key of a section of the file is one."""
    sections = {key for key in FIELDS if "." not in key and any(k.startswith(f"{key}.") for k in FIELDS)}
    named = {text for text in quoted(README) if re.fullmatch(rf"({'|'.join(sections)})(\.[a-z_]+)+", text)}
    assert named <= set(FIELDS)


def test_fixed_limits() -> None:
    """The limits without a key are those of the sources."""
    from proxy.control.watch import LOOK_EVERY_S
    from proxy.dataplane.client import LINGER_NS
    from proxy.dataplane.shipper import PIPE_BYTES
    from proxy.dataplane.upstream import MAX_RESPONSE_HEAD_BYTES
    from proxy.wire.head import MAX_REQUEST_ID_BYTES

    text = " ".join(section("Behaviour").split())
    for sentence in (
        f"a response head may have {MAX_RESPONSE_HEAD_BYTES // 1024} KiB",
        f"`x-request-id` of more than {MAX_REQUEST_ID_BYTES} bytes",
        f"pipe to the observer holds {PIPE_BYTES // 1024**2} MiB",
        f"decoded up to {DECODED_CAP_BYTES // 1024**2} MiB",
        f"for {LINGER_NS // 10**9} s what arrives is thrown away",
        f"a look every {LOOK_EVERY_S:g} s",
    ):
        assert sentence in text


# What is shown


def test_faults() -> None:
    """Each fault stands beside the status that the client gets for it."""
    statuses = {cells[0]: quoted(cells[1]) for cells in rows(section("Behaviour")) if len(cells) == 2}
    for fault, status in FAULT_STATUS.items():
        assert fault.label in statuses[str(status)]
    assert all(f"`{fault.label}`" in section("Behaviour") for fault in Fault if fault is not Fault.NONE)


def test_drops() -> None:
    """The reasons why a copy is not sent are all named."""
    (row,) = [cells for cells in rows(section("Metrics")) if "modelproxy_shadow_dropped_total" in cells[0]]
    assert set(quoted(row[3])) - {"limits.copy"} == {drop.label for drop in DROPS}


def test_methods() -> None:
    """The methods of comparison are those there are."""
    table = rows(between(README, "| `compare.as` |", "\n\n"))
    assert {quoted(cells[0])[0] for cells in table} == set(METHODS)


def test_the_sinks_are_valid() -> None:
    """The sinks that are shown can be used, and the table below them has every kind."""
    settings = parse(SINKS + CONFIG, environ={"EVENTS_TOKEN": "abc"})
    assert len(settings.payload_log.sinks) > 1
    table = between(README, "### Where records go", "What all sinks do")
    assert [quoted(line)[0] for line in table.splitlines() if line.startswith("| `")] == ["kind", *KEYS]


def test_the_redaction_is_valid() -> None:
    """What is shown of redaction can be used in the example, and names each kind of target."""
    redact = parse(re.sub(r"    log: .*\n", REDACTED, CONFIG), environ={}).routes[0].log.redact
    named = [(entry.pointer, entry.tensor, entry.header, entry.detect) for entry in redact]
    assert all(any(column) for column in zip(*named, strict=True))


@pytest.mark.parametrize("line", RULES.splitlines())
def test_rules(line: str) -> None:
    """Each of the rules that show where things stand in JSON is one, of another method."""
    settings = parse_with_source(
        f"{CONFIG}\n{line}\n".replace("    compare: {as: classification}\n", ""), environ={}
    )[0]
    assert settings.routes[0].compare.at is not None
    assert RULES.count(f"as: {settings.routes[0].compare.as_},") == 1


def test_the_embedder() -> None:
    """The section that names a server of embeddings is one, beside the first configuration."""
    embedder = parse(f"{CONFIG}\n{EMBEDDER}", environ={"EMBEDDER_KEY": "k"}).embedder
    assert embedder is not None
    assert embedder.headers["authorization"].get_secret_value() == "Bearer k"


def test_endpoints() -> None:
    """The endpoints in the table are those of the OpenAPI description."""
    documented = {quoted(cells[0])[0] for cells in rows(section("Admin address"))[1:]}
    described = {
        f"{method.upper()} {path}"
        for path, operations in build_openapi()["paths"].items()
        for method in operations
    }
    assert documented == described


def test_metrics() -> None:
    """The table of metrics holds every metric once, with its type and labels, and no other."""
    documented = {}
    for cells in rows(section("Metrics"))[1:]:
        for name in quoted(cells[0]):
            assert name not in documented
            documented[name] = (cells[1], tuple(quoted(cells[2])))
    expected = {
        name: (family.kind, ("version",) if family.kind == "info" else family.labels)
        for name, family in FAMILIES.items()
    }
    for name in observer_metrics():
        expected[name] = ("counter" if name.endswith("_total") else "gauge", ())
    assert documented == expected


def observer_metrics() -> set[str]:
    """Return the names of what the observer shows of itself: the keys that ``Observer.gauges`` writes.

    What it hands to ``show`` comes back as counters, whose names end in ``_total``.
    """
    tree = ast.parse((ROOT / "proxy" / "observer" / "observer.py").read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    (gauges,) = (function for function in functions if function.name == "gauges")
    calls = [node for node in ast.walk(gauges) if isinstance(node, ast.Call)]
    (counters,) = (call.args[0] for call in calls if ast.unparse(call.func).endswith(".show"))
    names = set()
    for document in (node for node in ast.walk(gauges) if isinstance(node, ast.Dict)):
        suffix = "_total" if document is counters else ""
        keys = [ast.literal_eval(key) for key in document.keys if key is not None]
        names |= {f"modelproxy_observer_{key}{suffix}" for key in keys}
    return names


def shape(document: Any) -> Any:
    """Return the names in a document, in their order, without the values."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    return [shape(document[0])] if isinstance(document, list) and document else None


def test_the_record() -> None:
    """The record has the fields, in the order, that a record has."""
    (example,) = blocks("json")
    route = table_of(BASE_CONFIG).routes[0]
    first, second = (
        Answer(200, None, None, b'{"predictions":[[%b]]}' % chances)
        for chances in (b"0.75,0.25", b"0.25,0.75")
    )
    judged = compare(ComparisonRule("classification"), first, second)
    primary = primary_part(target=b"/v2/models/wine/infer")
    record = build_record(
        compile_record_rule(route, b"k" * 32), route, primary, {0: shadow_part()}, {0: judged}
    )
    assert orjson.dumps(shape(orjson.loads(example))) == orjson.dumps(shape(record))


def test_the_glossary_says_each_word_once() -> None:
    """No word is explained twice, and every role is explained."""
    words = re.findall(r"(?<!\*)\*(\w+)\*(?!\*)", section("Glossary"))
    assert len(words) == len(set(words))
    assert {role.value for role in Role} <= set(words)
