"""Certificates are taken up when they have changed and are good; what is half of a change waits for the other half."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.control.certificate_watch import CertificateWatch
from proxy.control.judge import Accepted, Refused, judge
from proxy.control.release import Release
from tests.certificate_world import Authority, Identity

AUTHORITY = Authority()
OLD, NEW, NEWER = (AUTHORITY.issue("h", days=days) for days in (10, 20, 30))


class World:
    """A watch over a pair of files, and what it handed over."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = OLD.write(folder, "server")
        self.taken: list[Mapping[str, str]] = []
        self.pushes = 0
        self.watch = CertificateWatch(self.taken.append, self._push)
        self.watch.adopt(self.release(1))

    def _push(self) -> None:
        self.pushes += 1

    def judged(self, extra: str = "") -> Accepted | Refused:
        """Judge a document that names the two files."""
        document = f"""
tls: {{certificate: {self.certificate}, key: {self.key}}}
models: {{m: {{url: "http://h"}}}}
routes: [{{name: r, match: {{path: "*"}}, variants: [{{name: v, model: m, role: champion}}]}}]
{extra}"""
        verdict = judge(document.encode(), None, source="a.yaml", environ={})
        assert isinstance(verdict, Accepted | Refused)
        return verdict

    def release(self, version: int) -> Release:
        """Return what the document says, made now."""
        verdict = self.judged()
        assert isinstance(verdict, Accepted)
        return Release(verdict.settings, version, verdict.digest, verdict.certificates)

    def replace(self, identity: Identity) -> None:
        """Put a new pair in place."""
        self.certificate.write_text(identity.certificate)
        self.key.write_text(identity.key)

    def status(self) -> tuple[int, int, int, int]:
        """Return the end of the certificate in use, reloads, refusals and problems."""
        status = self.watch.status()
        assert status is not None
        return (
            status["expiries"][""],
            status["reloads_total"],
            status["reloads_refused_total"],
            len(status["problems"]),
        )


@pytest.fixture(name="world")
def fixture_world(tmp_path: Path) -> World:
    """A watch over the old pair."""
    return World(tmp_path)


async def test_what_did_not_change_is_not_handed_over(world: World) -> None:
    """Looks without news cost nothing further."""
    os.utime(world.certificate)
    await world.watch.look()
    assert world.taken == []
    assert world.status() == (OLD.expires_s, 0, 0, 0)


async def test_a_new_pair_is_taken_at_once(world: World) -> None:
    """Both files in one look: in use with that look."""
    world.replace(NEW)
    await world.watch.look()
    assert world.taken == [{str(world.certificate): NEW.certificate, str(world.key): NEW.key}]
    assert world.status() == (NEW.expires_s, 1, 0, 0)
    assert world.pushes == 1


async def test_certificate_and_key_one_after_the_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A look between the two sees half a change: it is neither taken nor held against anybody."""
    world.certificate.write_text(NEW.certificate)
    await world.watch.look()
    assert world.taken == []
    world.key.write_text(NEW.key)
    await world.watch.look()
    assert len(world.taken) == 1
    assert world.status() == (NEW.expires_s, 1, 0, 0)
    assert "not taken" not in caplog.text


async def test_what_stays_wrong_is_refused_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and logged at the second look, not at the third, and the old pair stays in use."""
    world.certificate.write_text(NEW.certificate)
    for _ in range(4):
        await world.watch.look()
    assert world.taken == []
    assert world.status() == (OLD.expires_s, 0, 1, 1)
    assert caplog.text.count("found another key") == 1
    world.key.write_text(NEW.key)
    await world.watch.look()
    assert world.status() == (NEW.expires_s, 1, 1, 0)


async def test_put_back_is_well_again(world: World) -> None:
    """When the files say again what is in use, nothing is wrong any more, and nothing is taken."""
    world.key.unlink()
    for _ in range(2):
        await world.watch.look()
    assert world.status() == (OLD.expires_s, 0, 1, 1)
    world.key.write_text(OLD.key)
    await world.watch.look()
    assert world.status() == (OLD.expires_s, 0, 1, 0)
    assert world.taken == []
    assert world.pushes == 2


async def test_wrong_in_another_way_is_refused_again(world: World) -> None:
    """Each content is judged once."""
    for key in ("nothing", "nothing else"):
        world.key.write_text(key)
        for _ in range(3):
            await world.watch.look()
    assert world.status() == (OLD.expires_s, 0, 2, 1)


async def test_a_link_that_is_swapped(tmp_path: Path) -> None:
    """A volume of secrets in Kubernetes is a link to a link to a folder; swapping the inner one is one change."""
    for name, identity in {"one": OLD, "two": NEW}.items():
        folder = tmp_path / name
        folder.mkdir()
        identity.write(folder, "server")
    (tmp_path / "..data").symlink_to("one")
    for name in ("server.pem", "server.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    World.__init__(world := World.__new__(World), tmp_path)
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    await world.watch.look()
    assert world.status() == (NEW.expires_s, 1, 0, 0)


async def test_an_expired_one_is_taken_with_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It may be what the operator has; the clients will tell."""
    world.replace(AUTHORITY.issue("h", days=-1))
    await world.watch.look()
    assert len(world.taken) == 1
    assert "one that expired" in caplog.text


async def test_a_publish_brings_its_own(world: World) -> None:
    """What a release has read is in use with it, and what was wrong before is forgotten."""
    world.key.unlink()
    for _ in range(2):
        await world.watch.look()
    world.replace(NEW)
    world.watch.adopt(world.release(2))
    assert world.status() == (NEW.expires_s, 0, 1, 0)
    await world.watch.look()
    assert world.taken == []


async def test_without_files_there_is_nothing_to_say() -> None:
    """A table without TLS has no state of certificates."""
    document = b"""
models: {m: {url: "http://h"}}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: m, role: champion}]}]
"""
    verdict = judge(document, None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    watch = CertificateWatch(lambda _: None, lambda: None)
    assert watch.status() is None
    await watch.look()
    watch.adopt(Release(verdict.settings, 1, verdict.digest, verdict.certificates))
    await watch.look()
    assert watch.status() is None


def test_a_document_with_wrong_files_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The files are judged with the document that names them, with their place in it."""
    caplog.set_level(logging.CRITICAL)
    world.key.write_text(NEW.key)
    verdict = world.judged()
    assert isinstance(verdict, Refused)
    (problem,) = verdict.problems
    assert problem.startswith("a.yaml:2:")
    assert "tls.key: found another key" in problem


async def test_a_rollout_that_moves_brings_no_old_certificate_back(world: World) -> None:
    """A release of the same settings has what is in use by now, also when it was renewed while it was under way."""
    first = world.release(1)
    world.watch.adopt(first)
    world.replace(NEW)
    await world.watch.look()
    second = first.with_rollouts(2, "d", {})
    assert second.certificates.files[str(world.certificate)] == NEW.certificate
    world.replace(NEWER)
    await world.watch.look()
    world.watch.adopt(second)
    third = second.with_rollouts(3, "d", {})
    assert third.certificates.files[str(world.certificate)] == NEWER.certificate
    world.watch.adopt(third)
    await world.watch.look()
    assert len(world.taken) == 2
    assert world.status() == (NEWER.expires_s, 2, 0, 0)


async def test_a_rollout_that_moves_forgets_no_problem(world: World) -> None:
    """What is wrong with the files stays said and counted once, however many steps there are meanwhile."""
    release = world.release(1)
    world.watch.adopt(release)
    world.certificate.write_text(NEW.certificate)
    for version in range(2, 6):
        await world.watch.look()
        release = release.with_rollouts(version, "d", {})
        world.watch.adopt(release)
    assert world.status() == (OLD.expires_s, 0, 1, 1)
