"""The configuration file of the run: valid, edited whole, and assigned without the proxy."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from proxy.demo.models import ROLES
from proxy.demo.stage import MODELS, RELEASED_MODELS, SERVERS
from proxy.demo.story import (
    BAKE_S,
    CHAMPION,
    COPIES,
    HOLD_S,
    RELEASES,
    ROLLOUT_ROUTE,
    SCENES,
    STEPS,
    ConfigFile,
    Release,
    crowd,
    find_config,
    log_sample,
    rounds,
    user_names,
    variants_of,
)
from proxy.settings import parse, warnings

TEMPLATE = find_config().read_text(encoding="utf-8")
USERS = user_names(2000)


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    """A copy in a directory of its own."""
    return ConfigFile(TEMPLATE, tmp_path, {})


HURRIED = ["routes[1].variants[1].rollout.hold"]
"""Nobody wants to watch a demo for as long as is good advice for a real service."""


def test_the_shipped_file_is_valid_by_itself() -> None:
    """Without any variable the file is accepted, and the only warning is that its steps are short."""
    settings = parse(TEMPLATE, environ={}, source="demo.yaml")
    assert str(settings.listen) == "127.0.0.1:8080"
    assert set(settings.models) == {*MODELS, CHAMPION.model, RELEASES[0].model}
    assert {role for roles in SERVERS.values() for role in roles} == set(ROLES)
    assert set(SERVERS["parcels"]) == set(RELEASED_MODELS.values())
    assert [problem.path for problem in warnings(settings)] == HURRIED


def test_addresses_come_from_the_environment() -> None:
    """The demo's free ports replace the defaults."""
    environ = {"DEMO_LISTEN": "127.0.0.1:18080", "DEMO_SHADOW_URL": "http://127.0.0.1:19004"}
    settings = parse(TEMPLATE, environ=environ, source="demo.yaml")
    assert str(settings.listen) == "127.0.0.1:18080"
    assert settings.models["digits-v4"].url == "http://127.0.0.1:19004/v2/models/digits-forest"


def test_each_step_is_one_whole_file(config: ConfigFile) -> None:
    """The file says the new weight and nothing else; each version is kept; no half-written file stays."""
    for scene in SCENES:
        config.write(scene.canary_weight)
        text = config.path.read_text(encoding="utf-8")
        assert text == config.text(5).replace(
            "canary, weight: 5}", f"canary, weight: {scene.canary_weight}}}"
        )
    assert [path.name for path in config.versions] == [
        "1-canary-5.yaml",
        "2-canary-20.yaml",
        "3-canary-0.yaml",
    ]
    assert not list(config.path.parent.rglob("*.new"))


def test_the_shipped_file_shows_the_first_release(config: ConfigFile) -> None:
    """What a reader finds in the repository is what the demo writes when the first build comes."""
    assert config.text(5, RELEASES[0]) == TEMPLATE


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.variant)
def test_a_release_is_one_edit(config: ConfigFile, release: Release) -> None:
    """Each file is valid, in a hurry at most, and has the champion and one canary with the plan of the story."""
    config.write(0, release)
    assert config.versions[0].name == f"1-rollout-of-{release.variant}.yaml"
    settings = parse(config.text(0, release), environ={}, source="demo.yaml")
    assert [problem.path for problem in warnings(settings)] == HURRIED
    route = next(route for route in settings.routes if route.name == ROLLOUT_ROUTE)
    assert [variant.name for variant in route.variants] == [CHAMPION.variant, release.variant]
    rollout = route.variants[1].rollout
    assert rollout is not None
    assert tuple(map(int, rollout.steps)) == STEPS
    assert (rollout.hold, rollout.bake) == (HOLD_S * 10**9, BAKE_S * 10**9 * release.bakes)
    assert [(shadow.model, int(shadow.percent)) for shadow in route.shadows] == [
        (release.model, COPIES)
    ] * release.bakes
    version = ROLES[release.role].version
    assert settings.models[release.model].urls[0].endswith(f"/v2/models/digits/versions/{version}")


def test_without_a_release_there_is_the_champion_alone(config: ConfigFile) -> None:
    """Before the first build, and in every scene, nothing is on trial there."""
    settings = parse(config.text(20), environ={}, source="demo.yaml")
    route = next(route for route in settings.routes if route.name == ROLLOUT_ROUTE)
    assert [variant.name for variant in route.variants] == [CHAMPION.variant]
    assert not warnings(settings)


def test_a_template_that_ends_otherwise_is_refused(tmp_path: Path) -> None:
    """An edit that would not reach the file is an error."""
    with pytest.raises(ValueError, match="parcels"):
        ConfigFile(TEMPLATE.replace("name: parcels", "name: letters"), tmp_path, {}).text(5, RELEASES[0])


def test_visitors() -> None:
    """Rounds bring everybody equally often; in a crowd every third visitor returns in the same order."""
    users = user_names(5)
    assert set(Counter(islice(rounds(users, 1), 15)).values()) == {3}
    come = list(islice(crowd(users), 30))
    assert come[::3] == users * 2
    assert set(Counter(name for name in come if name not in users).values()) == {1}


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
