"""The surface of a running observer: readiness, access and readings of a source."""

from pathlib import Path

import jsonschema
import orjson
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from proxy.control.admin import Access, NotReadyError, ReloadOutcome, UnknownError
from proxy.control.disagreement_query import Query
from proxy.control.disagreement_schema import disagreements_schema
from proxy.control.feedback import CONTENT_TYPES, parse_feedback
from proxy.control.openapi import build_openapi
from proxy.evidence.ring import id_hash
from proxy.labels import LabelCounts
from proxy.observer.breakdown import TOTAL, Cell
from proxy.observer.label_store import KnownLabels
from proxy.observer.showing import Known
from proxy.observer.surface import ObserverSurface, build_admin
from proxy.rollout.plan import plan_of
from proxy.rollout.transitions import begin
from proxy.sinks.counts import SinkCounts
from proxy.tally import OBSERVER_COUNTERS, OBSERVER_FIELDS, follow, leave_layouts, open_block
from tests.observer.test_disagreement_view import EXAMPLES
from tests.observer.world import CONFIG, World, delivered

TOKEN = "a-token-that-is-long-enough"


def world_with_token(run_dir: Path) -> World:
    return World(run_dir, f"admin_token: {TOKEN}\n" + CONFIG.replace("127.0.0.1:9090", "0.0.0.0:9090"))


async def test_readings(tmp_path: Path) -> None:
    """Metrics, status and table are those of the source."""
    world = World(tmp_path)
    world.serve("v1", 3)
    surface = ObserverSurface(world)
    body, _ = await surface.metrics("")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert [sample.value for sample in families["modelproxy_requests"].samples] == [3]
    assert (await surface.status())["routes"][0]["variants"][0]["requests"] == 3
    assert (await surface.table())["version"] == 1


async def test_before_the_first_commit(tmp_path: Path) -> None:
    """Until every version is known nothing is read, because counters would go backwards."""
    world = World(tmp_path)
    world.current = None
    surface = ObserverSurface(world)
    assert surface.unready() == "no configuration is in force yet"
    assert not surface.access().known
    for read in (surface.status(), surface.table(), surface.metrics("")):
        with pytest.raises(NotReadyError, match="no configuration is in force yet"):
            await read


READY = [
    ("both up", [(True, 2), (True, 2)], True),
    ("one up", [(False, None), (True, 2)], True),
    ("up with the version before", [(True, 1), (False, 2)], False),
    ("none up", [(False, 2), (False, 2)], False),
    ("no workers", [], False),
]


@pytest.mark.parametrize(("workers", "ready"), [c[1:] for c in READY], ids=[c[0] for c in READY])
def test_ready(tmp_path: Path, workers: list[tuple[bool, int | None]], ready: bool) -> None:
    """Ready means: at least one worker is up with the version in force."""
    world = World(tmp_path)
    world.publish()
    world.fleet["workers"] = [{"index": i, "up": up, "version": v} for i, (up, v) in enumerate(workers)]
    reason = ObserverSurface(world).unready()
    assert (None if ready else "no worker is up with version 2 of the configuration") == reason


def test_access(tmp_path: Path) -> None:
    """Access follows the configured address and token."""
    assert Access(loopback=True, token=None) == ObserverSurface(World(tmp_path / "a")).access()
    assert Access(loopback=False, token=TOKEN) == ObserverSurface(world_with_token(tmp_path / "b")).access()


async def test_reload_goes_to_the_supervisor(tmp_path: Path) -> None:
    """A reload is the supervisor's to do; its answer comes back as it is."""
    world = World(tmp_path)
    world.reply = {"ok": False, "document": {"version": 1, "problems": ["models: found nothing"]}}
    outcome = await ObserverSurface(world).reload("somebody")
    assert ReloadOutcome(False, {"version": 1, "problems": ["models: found nothing"]}) == outcome
    assert world.requests == [("reload", "somebody")]


def test_build_admin(tmp_path: Path) -> None:
    """The application has the admin address's paths."""
    app = build_admin(World(tmp_path))
    assert isinstance(app, web.Application)
    assert "/metrics" in {resource.canonical for resource in app.router.resources()}


async def test_what_the_observer_before_counted_goes_on(tmp_path: Path) -> None:
    """After an upgrade the observer's own totals are those of both programs."""
    before, run_dir = tmp_path / "before", tmp_path / "run"
    before.mkdir()
    run_dir.mkdir()
    block = open_block(before / OBSERVER_COUNTERS, len(OBSERVER_FIELDS))
    block.slots[OBSERVER_FIELDS.index("broken_streams")] = 40
    block.slots[OBSERVER_FIELDS.index("errors")] = 2
    block.close()
    SinkCounts(before, "all").settled(7, 1)
    leave_layouts(before, {})
    follow(run_dir, before)
    world = World(run_dir)
    world.delivered = [
        delivered("all", written=3, dropped=4, failed=5),
        delivered("other", written=3, dropped=4, failed=5),
    ]
    status = await ObserverSurface(world).status()
    observer = status["observer"]
    assert (observer["broken_streams_total"], observer["errors_total"]) == (41, 2)
    counts = [(sink["written"], sink["dropped"], sink["failed"]) for sink in status["sinks"]]
    assert counts == [(10, 4, 6), (3, 4, 5)]


ROLLOUT = CONFIG.replace("role: canary, weight: 5", "role: canary, rollout: {steps: [5, 50]}")


def world_with_rollout(run_dir: Path) -> World:
    world = World(run_dir, ROLLOUT)
    table = world.current
    assert table is not None
    plan = plan_of(table.settings, table.settings.routes[0])
    assert plan is not None
    state = begin(plan, "0123456789abcdef", 0)
    world.fleet["rollouts"] = {"states": [state.document()], "clock_offset_ns": 0}
    world.judgements["wine"] = {"verdict": "hold", "sentence": "too few requests"}
    return world


async def test_where_a_rollout_stands(tmp_path: Path) -> None:
    """It is shown by itself and in the status, with what the engine thinks of it."""
    surface = ObserverSurface(world_with_rollout(tmp_path))
    document = await surface.rollout("wine")
    assert (document["variant"], document["weight"]) == ("v3", 5.0)
    assert document["judgement"] == {"verdict": "hold", "sentence": "too few requests"}
    shown = (await surface.status())["routes"][0]["rollout"]
    jsonschema.validate(document, build_openapi()["components"]["schemas"]["Rollout"])
    same = shown.keys() - {"seconds_in_step", "seconds_since_start"}
    assert all(shown[name] == document[name] for name in same)


async def test_what_it_is_judged_by(tmp_path: Path) -> None:
    """The evidence is shown beside it, and of a split by fixed weights alone; the status goes without."""
    world = world_with_rollout(tmp_path)
    world.evidences["wine"] = {"epochs": []}
    surface = ObserverSurface(world)
    assert (await surface.rollout("wine"))["evidence"] == {"epochs": []}
    assert "evidence" not in (await surface.status())["routes"][0]["rollout"]
    split = World(tmp_path / "split")
    split.evidences["wine"] = {"epochs": [1]}
    assert await ObserverSurface(split).rollout("wine") == {"route": "wine", "evidence": {"epochs": [1]}}


async def test_what_a_decision_was_made_from(tmp_path: Path) -> None:
    """It is told as it is kept; what is not kept is unknown."""
    world = World(tmp_path)
    world.snapshots["d1"] = b'{"engine":1}'
    assert await ObserverSurface(world).snapshot("d1") == b'{"engine":1}'
    with pytest.raises(UnknownError, match="no decision with this digest"):
        await ObserverSurface(world).snapshot("d2")


async def test_there_is_no_rollout(tmp_path: Path) -> None:
    """A route without one is told from a route that is not there; before the first table nobody knows."""
    world = World(tmp_path)
    surface = ObserverSurface(world)
    with pytest.raises(UnknownError, match="route wine has no rollout"):
        await surface.rollout("wine")
    for ask in (surface.rollout("beer"), surface.steer("abort", "beer", "somebody", "")):
        with pytest.raises(UnknownError, match="no route is called beer; there are: wine"):
            await ask
    assert world.requests == []
    assert (await surface.status())["routes"][0]["rollout"] is None
    world.current = None
    with pytest.raises(NotReadyError):
        await surface.steer("abort", "wine", "somebody", "")


async def test_a_verb_goes_to_the_supervisor(tmp_path: Path) -> None:
    """A verb is the supervisor's to do; its answer comes back as it is."""
    world = world_with_rollout(tmp_path)
    world.reply = {"ok": False, "document": {"version": 1, "problems": ["v3: it is promoted already"]}}
    outcome = await ObserverSurface(world).steer("promote", "wine", "admin 127.0.0.1", "because")
    assert ReloadOutcome(False, {"version": 1, "problems": ["v3: it is promoted already"]}) == outcome
    assert world.requests == [("promote", "admin 127.0.0.1")]
    assert world.facts == [{"route": "wine", "reason": "because"}]


async def test_disagreements(tmp_path: Path) -> None:
    """What is known of each shadow is told as described; who asks for what is not there learns what is."""
    world = World(
        tmp_path, CONFIG.replace("    log: {percent: 5}", "    compare: {slices: {tier: header:x-tier}}")
    )
    cells = {TOTAL: (3, 1, 0, 4, 1, 0, 0, 0), Cell("slice", "tier", "gold"): (3, 1, 0, 4, 1, 0, 0, 0)}
    world.known["wine"] = [Known("wine-v4", 0, cells, EXAMPLES, [])]
    surface = ObserverSurface(world)
    document = await surface.disagreements(Query(route="wine", slice=("tier", "gold")))
    jsonschema.validate(orjson.loads(orjson.dumps(document)), disagreements_schema())
    (shadow,) = document["routes"][0]["shadows"]
    assert (shadow["disagree"], len(shadow["examples"])) == (1, 3)
    assert (document["routes"][0]["noise_percent"], shadow["noise"]) == (0, None)
    assert "not measured" in shadow["noise_sentence"]
    assert "compare: {noise: 5}" in shadow["noise_sentence"]
    for query, sentence in {
        Query(route="x"): "no route is called x; there are: wine",
        Query(shadow="x\x1b"): "no shadow is called x\\x1b; there are: wine-v4",
        Query(slice=("lang", "x")): "no slice is called lang; there are: tier",
        Query(example="x"): "no example x is kept here, or no longer",
    }.items():
        with pytest.raises(UnknownError) as caught:
            await surface.disagreements(query)
        assert str(caught.value) == sentence
    world.current = None
    with pytest.raises(NotReadyError):
        await surface.disagreements(Query())


async def test_noise_beside_disagreements(tmp_path: Path) -> None:
    """Where the champion is asked twice, a shadow's rate stands beside the same figures that the status has."""
    text = CONFIG.replace("    log: {percent: 5}", "    compare: {noise: 20, excess: 10}")
    world = World(tmp_path, text)
    assert world.current is not None
    (shadow,) = world.current.routes[0].shadows
    world.known["wine"] = [Known("wine-v4", 0, {TOTAL: (300, 700, 0, 0, 0, 0, 0, 0)}, [], [])]
    counts = {"same": 300, "candidate": 80, "champion": 75, "both": 545, "left_out": 4}
    world.add(("triple", "wine", "wine-v4", shadow.stretch), counts, writer="o0")
    world.fields = {shadow.stretch: {"/ts": [80, 75, 545]}}
    surface = ObserverSurface(world)
    document = await surface.disagreements(Query(route="wine"))
    jsonschema.validate(orjson.loads(orjson.dumps(document)), disagreements_schema())
    assert document["routes"][0]["noise_percent"] == 20
    (told,) = document["routes"][0]["shadows"]
    assert told["noise"] == (await surface.status())["routes"][0]["shadows"][0]["noise"]
    assert (told["noise"]["triples"], told["noise"]["left_out"], told["noise"]["is_more"]) == (1000, 4, False)
    assert told["noise_sentence"].startswith(
        "62.5 % of answers differ, and the champion differs from itself as often (62 %): no evidence of more than is"
    )
    assert [field["path"] for field in told["noise"]["fields"]] == ["/ts"]


async def test_true_answers(tmp_path: Path) -> None:
    """They go to the source by route, beside what was said of others; what they say is shown with disagreements."""
    world = World(tmp_path, CONFIG.replace("    shadows:", "    compare: {labels: 1h}\n    shadows:"))
    surface = ObserverSurface(world)
    batch = parse_feedback(b'[{"route": "wine", "request_id": "a", "labels": [1, null]}]', CONTENT_TYPES[0])
    taken = await surface.feedback(batch)
    assert (taken.accepted, taken.status) == (1, 200)
    assert world.labels_said == [({"wine": list(batch.labels)}, {})]
    assert world.said == [({}, {})]
    world.known = {"wine": [Known("wine-v4", 0, {}, [], [])]}
    world.labelled = {"wine": [KnownLabels("wine-v4", "v1", LabelCounts(only_primary=3))]}
    document = await surface.disagreements(Query(route="wine"))
    (found,) = document["routes"][0]["shadows"][0]["labels"]
    assert (found["variant"], found["rows"]["only_primary"]) == ("v1", 3)


async def test_feedback(tmp_path: Path) -> None:
    """What can be taken goes to the source by route; what is busy is to come again."""
    canary = "{name: v3, model: wine-v3, role: canary, weight: 5}"
    rolled = canary.replace("weight: 5", "rollout: {guardrails: [{metric: feedback}]}")
    world = World(tmp_path, CONFIG.replace(canary, rolled))
    surface = ObserverSurface(world)
    batch = parse_feedback(
        b'[{"route": "wine", "request_id": "a", "good": false}, {"route": "wine", "request_id": "b", "good": 1}]',
        CONTENT_TYPES[0],
    )
    taken = await surface.feedback(batch)
    assert (taken.accepted, taken.invalid, taken.status) == (1, 1, 200)
    assert world.said == [({"wine": [(id_hash(b"a"), False)]}, {"wine": 1})]
    world.busy = "the disk is full"
    with pytest.raises(NotReadyError, match="the disk is full; send the same again"):
        await surface.feedback(batch)
    world.current = None
    with pytest.raises(NotReadyError, match="no configuration is in force yet"):
        await surface.feedback(batch)
