"""Evidence over tables: reloads, steps of a rollout, disks without space, and what is noted for feedback."""

import errno
import logging
from pathlib import Path

import pytest

from proxy.dataplane import evidence as evidence_module
from proxy.dataplane.evidence import Experiments
from proxy.evidence.blocks import epochs
from proxy.evidence.layout import (
    FIELDS,
)
from proxy.evidence.ring import id_hash, ring_path
from proxy.evidence.stretch import read_ring
from proxy.evidence.units import open_units
from tests.dataplane.road import build_table, request, response
from tests.dataplane.trial import CONFIG, GOOD, PATH, ROLLOUT, V1, V2, Trial


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trial:
    """Half the units are the canary's; nothing is tried again."""
    return Trial(monkeypatch, tmp_path)


# Tables


def test_a_reload_with_the_same_odds_goes_on(trial: Trial) -> None:
    """Whatever else was edited, the epoch is the same, and so is the block; it is closed with the last table."""
    trial.answer(trial.ask(), response())
    before = trial.reload(CONFIG.replace("timeout: 20s", "timeout: 21s"))
    assert before.routes[0].evidence is trial.table.routes[0].evidence
    trial.experiments.release(before)
    assert before.routes[0].evidence is None
    trial.answer(trial.ask(), response())
    assert trial.evidence() == {"requests": 2, "units": 1}


def test_a_request_counts_in_the_epoch_in_which_it_began(trial: Trial) -> None:
    """Other odds are another epoch; what is under way was assigned by the old ones. Who was there is known to both."""
    user, old = trial.user(), trial.experiment
    model = trial.ask(user)
    tried = "models:\n  three: {url: 'http://127.0.0.1:9003'}\n"
    before = trial.reload(CONFIG.replace("weight: 50", "weight: 60").replace("models:\n", tried))
    assert trial.experiment.epoch != old.epoch
    trial.answer(model, response())
    assert trial.evidence(epoch=old.epoch) == GOOD
    assert trial.evidence() == {}
    trial.answer(trial.ask(user), response())
    assert trial.experiment.rollout == old.rollout
    assert trial.evidence() == {"requests": 1}
    trial.experiments.release(before)
    trial.answer(trial.ask(user), response())
    assert trial.evidence() == {"requests": 2}


def test_the_last_table_closes_what_it_had(trial: Trial) -> None:
    """Nothing is held for tables that are gone, and the files stay."""
    evidence = trial.table.routes[0].evidence
    trial.experiments.release(trial.table)
    trial.experiments.release(trial.table)
    for view in (evidence.slots, evidence.cells):
        with pytest.raises(ValueError, match="released"):
            view[0]
    assert epochs(trial.run_dir) == {trial.experiment.epoch}
    assert trial.experiments.attach(trial.table) == 0
    trial.answer(trial.ask(), response())
    assert trial.evidence() == GOOD


def test_a_rollout_without_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could judge it; and nothing stays open of the attempt, so that the next one finds all as it was."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    table = build_table(ROLLOUT)
    experiments = Experiments(tmp_path, 0)
    for name in ("open_units", "open_evidence"):
        with monkeypatch.context() as patch:
            patch.setattr(evidence_module, name, full)
            with pytest.raises(OSError, match="No space"):
                experiments.attach(table)
        assert table.routes[0].evidence is None
    assert experiments.attach(table) == 0
    experiments.release(table)


def test_a_step_without_space_leaves_the_one_before(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next table of a rollout cannot be prepared: the one in force counts on, with the same map."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    first = trial.reload(ROLLOUT)
    with monkeypatch.context() as patch:
        patch.setattr(evidence_module, "open_evidence", full)
        with pytest.raises(OSError, match="No space"):
            trial.experiments.attach(
                build_table(ROLLOUT.replace("rollout: {}", "rollout: {steps: [2, 100]}"))
            )
    trial.experiments.release(first)
    trial.answer(trial.ask(), response())
    assert trial.evidence() == GOOD


def test_a_split_without_space_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fixed weights do their work whether or not somebody counts; that nobody does is said and counted."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence_module, "open_evidence", full)
    table = build_table(CONFIG)
    with caplog.at_level(logging.WARNING):
        assert Experiments(tmp_path, 0).attach(table) == 1
    assert table.routes[0].evidence is None
    assert "route wine: split without evidence: No space left on device" in caplog.text


def test_maps_of_rollouts_are_larger(tmp_path: Path) -> None:
    """Rollouts are few and short, splits many and long."""
    for text, cells in ((CONFIG, 1 << 19), (ROLLOUT, 1 << 21)):
        experiment = build_table(text).routes[0].experiment
        assert experiment is not None
        assert experiment.cells == cells
        assert len(open_units(tmp_path, experiment.rollout, experiment.cells).slots) == cells // 4


# Feedback

FEEDBACK = CONFIG.replace("weight: 50", "rollout: {guardrails: [{metric: feedback}]}")


def noted(run_dir: Path) -> list[tuple[int, int, int, bool]]:
    """Return id, bucket, place and own coin of what was noted for feedback."""
    found = read_ring(ring_path(run_dir, 0), 0)
    columns = (found.ids, found.buckets, found.places, found.own_coins)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_what_may_get_feedback_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each request that is evidence is noted by the id that the client sees, with its epoch, unit and variant."""
    trial = Trial(monkeypatch, tmp_path, FEEDBACK)
    user = trial.user(V1)
    trial.answer(trial.ask(user, x_request_id="an-id"), response(b"x"))
    trial.answer(trial.ask(user), response(b"x", "503 Service Unavailable"))
    ours = trial.received().lower().rpartition(b"x-request-id: ")[2].partition(b"\r\n")[0]
    bucket = trial.table.routes[0].bucket(user.encode())
    canarys = trial.user(V2)
    trial.answer(trial.ask(canarys, x_request_id="another"), response(b"x"))
    assert noted(tmp_path) == [
        (id_hash(b"an-id"), bucket, 0, False),
        (id_hash(ours), bucket, 0, False),
        (id_hash(b"another"), trial.table.routes[0].bucket(canarys.encode()), FIELDS, False),
    ]
    epochs_ = read_ring(ring_path(tmp_path, 0), 0).epochs.tolist()
    assert epochs_ == [int(trial.experiment.epoch, 16)] * 3


def test_who_has_no_unit_is_noted_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A request whose id is ours is its own coin; one with the client's id may come again; a forced one had no coin."""
    trial = Trial(monkeypatch, tmp_path, FEEDBACK)
    for fields in ({}, {"X_Request_Id": "an-id"}, {"X_Modelproxy_Force": "v1"}):
        trial.feed(request(PATH, b"", "POST", **fields))
        trial.answer(trial.model(), response(b"x"))
    assert [own for *_, own in noted(tmp_path)] == [True, False]


def test_nothing_is_noted_where_nobody_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a guardrail on feedback there is no ring; with the reload that brings one there is."""
    trial = Trial(monkeypatch, tmp_path, ROLLOUT)
    trial.answer(trial.ask(trial.user(V1)), response(b"x"))
    assert not ring_path(tmp_path, 0).exists()
    trial.reload(FEEDBACK)
    trial.answer(trial.ask(trial.user(V1)), response(b"x"))
    assert len(noted(tmp_path)) == 1


def test_a_rollout_without_space_for_the_ring_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feedback that nobody could take up is refused with the table, which leaves nothing behind."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence_module, "open_ring", refuse)
    table, experiments = build_table(FEEDBACK), Experiments(tmp_path, 0)
    with pytest.raises(OSError, match="No space"):
        experiments.attach(table)
    assert not experiments._epochs
    assert not experiments._units
