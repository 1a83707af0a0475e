"""SIGUSR2 over stand-in processes: the program is exchanged, and the proxy stays."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.evidence.blocks import open_evidence
from proxy.evidence.remnants import remnants
from tests.supervised import Proxy, is_turned_away, only_linux, put_away, wait_for

pytestmark = pytest.mark.slow

KINDS = ("worker-0", "worker-1", "observer")


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy that is not started; whatever happens, nothing of it stays."""
    yield from put_away(Proxy(tmp_path))


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Proxy]:
    """The same with two workers."""
    yield from put_away(Proxy(tmp_path, workers=2))


def upgrades(proxy: Proxy) -> int:
    """Return how often the proxy was upgraded, once nothing of the program before is left."""
    config = proxy.fleet().get("config", {})
    return 0 if config.get("earlier_pids", [0]) else int(config["upgrades_total"])


def run_directories(proxy: Proxy) -> set[Path]:
    """Return those that any observer was given."""
    return {Path(line.split()[2]) for line in proxy.log("observer") if line.startswith("start")}


def test_the_processes_are_exchanged_one_generation_after_the_other(two_workers: Proxy) -> None:
    """Same process id and socket; the earlier ones drain once ours serve, the workers before the observer."""
    proxy = two_workers
    proxy.start()
    wait_for(proxy.fleet)
    before = {kind: proxy.pid(kind) for kind in KINDS}
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: upgrades(proxy) == 1)
    assert proxy.process.poll() is None
    for kind in KINDS:
        assert proxy.pid(kind) != before[kind]
        assert not Path(f"/proc/{before[kind]}").exists()
    assert proxy.ask() in [(proxy.pid("worker-0"), 2), (proxy.pid("worker-1"), 2)]
    log = proxy.log("observer")
    assert log.index("hush") < log.index("drain")
    assert proxy.log("observer").count("open") == 2
    run_dir = Path(log[0].split()[2])
    assert not run_dir.exists()
    assert proxy.stop() == 0


def test_workers_that_do_not_start_change_nothing(proxy: Proxy) -> None:
    """The program before goes on until they do; what is wrong is said."""
    proxy.start()
    wait_for(proxy.fleet)
    worker = proxy.pid("worker-0")
    proxy.tell("worker-0", "dead")
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade: cannot serve yet, the program before goes on" in proxy.stderr())
    assert proxy.ask() == (worker, 1)
    proxy.tell("worker-0", "dead", on=False)
    wait_for(lambda: upgrades(proxy) == 1)
    assert proxy.ask()[0] != worker
    assert proxy.stop() == 0


def test_a_file_that_goes_bad_meanwhile_changes_nothing(proxy: Proxy) -> None:
    """What the preflight saw is not what the program after finds: it waits for a file it can serve."""
    proxy.start()
    wait_for(proxy.fleet)
    worker = proxy.pid("worker-0")
    proxy.tell("worker-0", "dead")
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "the workers do not start" in proxy.stderr())
    proxy.weigh(500)
    wait_for(lambda: "found 500" in proxy.stderr())
    assert proxy.ask() == (worker, 1)
    proxy.tell("worker-0", "dead", on=False)
    proxy.weigh(7)
    wait_for(lambda: upgrades(proxy) == 1)
    assert proxy.stop() == 0


def test_it_can_be_stopped_in_the_middle(proxy: Proxy) -> None:
    """SIGTERM while the program after cannot serve: those before drain, and the exit code is 0."""
    proxy.start()
    wait_for(proxy.fleet)
    worker = proxy.pid("worker-0")
    proxy.tell("worker-0", "dead")
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "cannot serve yet" in proxy.stderr())
    assert proxy.stop() == 0
    assert proxy.log("observer")[-1] == "drain"
    assert "drain" in proxy.log("worker-0")
    assert not Path(f"/proc/{worker}").exists()
    assert not Path(proxy.log("observer")[0].split()[2]).exists()


def test_it_drains_both_when_stopped_side_by_side(proxy: Proxy) -> None:
    """SIGTERM while the program before still finishes: both end, and the exit code is 0."""
    proxy.start()
    wait_for(proxy.fleet)
    before = proxy.pid("worker-0")
    proxy.tell("worker-0", "stubborn")
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_for_note("worker-0", "drain")
    assert proxy.pid("worker-0") != before
    proxy.tell("worker-0", "stubborn", on=False)
    assert proxy.stop() == 0
    assert not Path(f"/proc/{before}").exists()


def test_killed_in_the_middle_both_leave_their_evidence(proxy: Proxy) -> None:
    """SIGKILL while the program before still finishes: the next start finds what either has counted."""
    proxy.start()
    wait_for(proxy.fleet)
    proxy.tell("worker-0", "stubborn")
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_for_note("worker-0", "drain")
    proxy.tell("worker-0", "stubborn", on=False)
    left = run_directories(proxy)
    assert len(left) == 2
    for run_dir in left:
        open_evidence(run_dir, "0123456789abcdef", 0, 8).close()
    proxy.process.kill()
    proxy.end()
    proxy.start()
    wait_for(lambda: len(run_directories(proxy)) == 3)
    (ours,) = run_directories(proxy) - left
    assert set(remnants(ours).values()) == left
    assert proxy.stop() == 0
    for run_dir in left:
        assert run_dir.exists(), "nobody has said that it is stored"
        shutil.rmtree(run_dir)


@only_linux
def test_the_address_that_is_left_turns_clients_away(proxy: Proxy) -> None:
    """With another address in the file, nobody is let in any more where the earlier workers finish."""
    proxy.start()
    wait_for(proxy.fleet)
    before = proxy.url["listening"]
    proxy.tell("worker-0", "stubborn")
    proxy.text = proxy.text.replace("listen: 127.0.0.1:0", "listen: 127.0.0.2:0")
    proxy.write(proxy.text)
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_for_note("worker-0", "drain")
    assert is_turned_away(before)
    proxy.tell("worker-0", "stubborn", on=False)
    assert proxy.stop() == 0


def test_the_address_that_is_kept_lets_clients_in(proxy: Proxy) -> None:
    """While the earlier workers finish, others accept on the same socket."""
    proxy.start()
    wait_for(proxy.fleet)
    proxy.tell("worker-0", "stubborn")
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_for_note("worker-0", "drain")
    for _ in range(10):
        assert proxy.ask()[1] > 0
    proxy.tell("worker-0", "stubborn", on=False)
    assert proxy.stop() == 0


def test_totals_go_on(proxy: Proxy) -> None:
    """What the supervisor counts itself does not fall."""
    proxy.start()
    wait_for(proxy.fleet)
    os.kill(proxy.pid("worker-0"), signal.SIGKILL)
    wait_for(lambda: proxy.fleet()["workers"][0]["restarts"] == 1 and proxy.fleet()["workers"][0]["up"])
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: proxy.fleet()["config"]["reloads_total"] == 1)
    started = proxy.fleet()["started_wall_ns"]
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: upgrades(proxy) == 1)
    fleet = proxy.fleet()
    assert (fleet["workers"][0]["restarts"], fleet["config"]["reloads_total"]) == (1, 1)
    assert fleet["started_wall_ns"] == started
    assert proxy.stop() == 0


def test_an_upgrade_that_is_refused_is_journalled(proxy: Proxy) -> None:
    """A file that the program on disk does not understand: nothing happens but a line."""
    proxy.start()
    wait_for(proxy.fleet)
    pid = proxy.pid("worker-0")
    proxy.write(proxy.text.replace("weight: 5", "weight: 500"))
    proxy.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: proxy.fleet()["config"]["upgrades_refused_total"] == 1)
    wait_for(lambda: [line for line in proxy.journal() if line["why"] == "upgrade"])
    assert proxy.ask() == (pid, 1)
    assert proxy.stop() == 0
