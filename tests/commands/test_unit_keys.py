"""``modelproxy unit-keys``: what it shows, makes and deletes, and that it never shows a key."""

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.privacy.actions import key_id, keyed_hash
from proxy.unit_keys import FIRST_KEY, UnitKeys, held_keys, rotate
from tests.settings.settings_world import minimal

MOMENT_NS = 1_700_000_000 * 10**9


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration whose state directory has a key."""
    path = tmp_path / "modelproxy.yaml"
    path.write_text(minimal(state_dir=str(tmp_path / "state")))
    UnitKeys(tmp_path / "state", None)
    return path


def run(config: Path, *options: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["unit-keys", str(config), *options], input=stdin)


def test_shown(config: Path) -> None:
    """Each key has its name and its age; of the keys themselves nothing is shown."""
    state = config.parent / "state"
    rotate(state, MOMENT_NS)
    result = run(config, "--json")
    document = orjson.loads(result.output)
    secrets = [held.path.read_bytes() for held in held_keys(state)]
    assert [key["unit_key_id"] for key in document["keys"]] == [key_id(secret) for secret in secrets]
    assert [key["in_force"] for key in document["keys"]] == [False, True]
    assert document["keys"][1]["since"] == "2023-11-14T22:13:20Z"
    assert key_id(secrets[1]) in run(config).output
    assert not any(secret.hex()[:16] in result.output for secret in secrets)


def test_rotated_and_forgotten(config: Path) -> None:
    """A new key is in force; what is forgotten is gone, and told."""
    state = config.parent / "state"
    first = key_id((state / FIRST_KEY).read_bytes())
    assert len(orjson.loads(run(config, "--rotate", "--json").output)["keys"]) == 2
    document = orjson.loads(run(config, "--forget", "--json").output)
    assert (len(document["keys"]), document["forgotten"]) == (1, [first])
    assert [held.path.parent.name for held in held_keys(state)] == ["unit-keys"]
    assert "forgotten" not in run(config, "--forget").output


def test_whose_records(config: Path) -> None:
    """What stands for a unit is told for each key, so that a person's records can be found."""
    state = config.parent / "state"
    rotate(state, MOMENT_NS)
    keys = orjson.loads(run(config, "--hash", "-", "--json", stdin=b"ada\n").output)["keys"]
    assert [key["unit"] for key in keys] == [
        keyed_hash(held.path.read_bytes(), b"ada") for held in held_keys(state)
    ]
    assert keys[0]["unit"] in run(config, "--hash", "ada").output


def test_a_key_of_ones_own(tmp_path: Path) -> None:
    """A configured key can be named and used, and is not replaced here."""
    path = tmp_path / "modelproxy.yaml"
    path.write_text(minimal(payload_log={"unit_key": "k" * 16}, state_dir=str(tmp_path / "state")))
    (key,) = orjson.loads(run(path, "--hash", "ada", "--json").output)["keys"]
    assert key == {
        "unit_key_id": key_id(b"k" * 16),
        "since": "configured",
        "in_force": True,
        "unit": keyed_hash(b"k" * 16, b"ada"),
    }
    refused = run(path, "--rotate")
    assert (refused.exit_code, "unit_key gives the key" in refused.output) == (1, True)


def test_nothing_there_yet(tmp_path: Path) -> None:
    """Before the first run there is no key, and looking makes none."""
    path = tmp_path / "modelproxy.yaml"
    path.write_text(minimal(state_dir=str(tmp_path / "state")))
    assert "no key yet" in run(path).output
    assert not (tmp_path / "state").exists()


def test_a_place_that_is_none(tmp_path: Path) -> None:
    """Where the keys cannot be written, one sentence says so."""
    path = tmp_path / "modelproxy.yaml"
    (tmp_path / "state").write_text("a file")
    path.write_text(minimal(state_dir=str(tmp_path / "state")))
    result = run(path, "--rotate")
    assert (result.exit_code, "cannot read or write the keys" in result.output) == (1, True)
