"""The configuration file of the run: valid, edited whole, and assigned without the proxy."""

from pathlib import Path

import pytest

from proxy.demo.models import ROLES
from proxy.demo.stage import MODELS
from proxy.demo.story import SCENES, ConfigFile, find_config, log_sample, user_names, variants_of
from proxy.settings import parse, warnings

TEMPLATE = find_config().read_text(encoding="utf-8")
USERS = user_names(2000)


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    """A copy in a directory of its own."""
    return ConfigFile(TEMPLATE, tmp_path, {})


def test_the_shipped_file_is_valid_by_itself() -> None:
    """Without any variable the file is accepted, without a warning."""
    settings = parse(TEMPLATE, environ={}, source="demo.yaml")
    assert str(settings.listen) == "127.0.0.1:8080"
    assert set(settings.models) == set(MODELS)
    assert set(MODELS.values()) == set(ROLES)
    assert not warnings(settings)


def test_addresses_come_from_the_environment() -> None:
    """The demo's free ports replace the defaults."""
    environ = {"DEMO_LISTEN": "127.0.0.1:18080", "DEMO_V4_URL": "http://127.0.0.1:19004"}
    settings = parse(TEMPLATE, environ=environ, source="demo.yaml")
    assert str(settings.listen) == "127.0.0.1:18080"
    assert settings.models["digits-v4"].url == "http://127.0.0.1:19004/v2/models/digits-forest"


def test_each_step_is_one_whole_file(config: ConfigFile) -> None:
    """The file says the new weight and nothing else; each version is kept; no half-written file stays."""
    for scene in SCENES:
        config.write(scene.canary_weight)
        text = config.path.read_text(encoding="utf-8")
        assert text.replace(f"canary, weight: {scene.canary_weight}}}", "canary, weight: 5}") == TEMPLATE
    assert [path.name for path in config.versions] == [
        "1-canary-5.yaml",
        "2-canary-20.yaml",
        "3-canary-0.yaml",
    ]
    assert not list(config.path.parent.rglob("*.new"))


def test_a_template_without_a_canary_is_refused(tmp_path: Path) -> None:
    """An edit that would change nothing is an error, not a scene that never happens."""
    with pytest.raises(ValueError, match="found 0"):
        ConfigFile("routes: []", tmp_path, {}).text(5)


def test_arms_are_in_the_order_of_the_file(config: ConfigFile) -> None:
    """Variants, their roles and models are read from the file."""
    assert [(arm.variant, arm.role, arm.model) for arm in config.arms()] == [
        ("v1", "champion", "digits-v1"),
        ("v2", "challenger", "digits-v2"),
        ("v3", "canary", "digits-v3"),
    ]


def test_a_ramp_moves_only_champion_and_canary(config: ConfigFile) -> None:
    """From scene to scene users move only into a rising canary or out of a falling one."""
    before, after, last = (variants_of(config.route(scene.canary_weight), USERS) for scene in SCENES)
    moves = {(before[user], after[user]) for user in USERS if before[user] != after[user]}
    back = {(after[user], last[user]) for user in USERS if after[user] != last[user]}
    assert (moves, back) == ({("v1", "v3")}, {("v3", "v1")})
    moved = sum(before[user] != after[user] for user in USERS)
    assert moved == pytest.approx(0.15 * len(USERS), abs=4 * (2000 * 0.15 * 0.85) ** 0.5)


def test_the_log_sample_does_not_depend_on_the_weights(config: ConfigFile) -> None:
    """The same users are logged in every scene: about a tenth of them."""
    samples = {log_sample(config.route(scene.canary_weight), USERS) for scene in SCENES}
    assert len(samples) == 1
    assert len(samples.pop()) == pytest.approx(200, abs=60)


def test_scenes_fill_the_time() -> None:
    """The shares of the scenes add up to the whole run, and the last one takes the canary out."""
    assert sum(scene.share for scene in SCENES) == pytest.approx(1.0)
    assert SCENES[-1].canary_weight == 0
