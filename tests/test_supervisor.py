"""The supervisor over stand-in processes: real sockets, real signals, real deaths."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from proxy.evidence.blocks import open_evidence
from proxy.evidence.remnants import has_workers, let_go, remnants
from tests.supervised import (
    PATIENCE_S,
    REPOSITORY,
    STAND_IN,
    Proxy,
    is_turned_away,
    only_linux,
    put_away,
    wait_for,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy that is not started; whatever happens, nothing of it stays."""
    yield from put_away(Proxy(tmp_path))


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Proxy]:
    """The same with two workers."""
    yield from put_away(Proxy(tmp_path, workers=2))


def held(proxy: Proxy) -> list[int]:
    """Return the versions that are not folded."""
    return list(proxy.fleet().get("versions_held", []))


class TestStart:
    """From the file to the two lines."""

    def test_serves_and_drains(self, proxy: Proxy) -> None:
        """It prints where it listens, serves, and ends with 0 after SIGTERM, the workers' part first."""
        proxy.start()
        proxy.wait_for_note("observer", "commit 1")
        assert proxy.ask() == (proxy.pid("worker-0"), 1)
        assert proxy.stop() == 0
        assert proxy.log("worker-0")[1:] == ["prepare 1", "commit 1", "drain"]
        assert proxy.log("observer")[1:] == ["open", "prepare 1", "commit 1", "drain"]

    def test_a_bad_file_starts_nothing(self, proxy: Proxy) -> None:
        """Every problem is printed, the exit code is 1, and no process was started."""
        proxy.write(proxy.text.replace("weight: 5", "weight: 500").replace("role: champion", "role: king"))
        proxy.launch()
        assert proxy.end() == 1
        assert len(proxy.stderr().splitlines()) == 2
        assert "config.yaml:1" in proxy.stderr()
        assert proxy.log("worker-0") == []

    def test_a_missing_file_is_one_sentence(self, proxy: Proxy) -> None:
        """The sentence names the file."""
        (proxy.box / "config.yaml").unlink()
        proxy.launch()
        assert proxy.end() == 1
        assert len(proxy.stderr().splitlines()) == 1
        assert "config.yaml: cannot read" in proxy.stderr()

    def test_an_address_in_use_is_one_sentence(self, proxy: Proxy) -> None:
        """The sentence names the address, and the exit code is 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            proxy.write(proxy.text.replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}"))
            proxy.launch()
            assert proxy.end() == 1
        assert f"listen: cannot listen on 127.0.0.1:{port}: address already in use" in proxy.stderr()

    def test_workers_that_do_not_start_end_the_start(self, proxy: Proxy) -> None:
        """A program that dies at its start is tried a few times, then the start has failed."""
        proxy.tell("worker-0", "dead")
        proxy.launch()
        assert proxy.end() == 1
        assert "worker 0" in proxy.stderr()
        assert "the workers do not start" in proxy.stderr()

    def test_a_worker_that_cannot_hold_the_table_ends_the_start(self, proxy: Proxy) -> None:
        """Its reason is printed, and the exit code is 1."""
        proxy.tell("worker-0", "full")
        proxy.launch()
        assert proxy.end() == 1
        assert "worker 0: cannot hold version 1: no space left on device" in proxy.stderr()

    def test_a_second_supervisor_is_refused(self, proxy: Proxy) -> None:
        """Two on one state directory would number tables alike; the sentence names who is there."""
        proxy.start()
        launched = subprocess.run(
            [sys.executable, str(STAND_IN), "supervise", str(proxy.box)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=False,
        )
        assert launched.returncode == 1
        assert f"in use by another supervisor (process {proxy.process.pid})" in launched.stderr
        assert proxy.ask()[1] == 1
        assert proxy.stop() == 0

    def test_a_service_manager_is_told(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        """That it serves, that it reads its file again, that it ends."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(proxy.box / "notify"))
            ear.settimeout(PATIENCE_S)
            monkeypatch.setenv("NOTIFY_SOCKET", str(proxy.box / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "20000")
            proxy.start()
            heard: list[bytes] = []

            def hear(word: bytes) -> None:
                while not heard or not heard[-1].startswith(word):
                    heard.append(ear.recv(100))

            hear(b"READY=1")
            hear(b"WATCHDOG=1")
            proxy.process.send_signal(signal.SIGHUP)
            hear(b"RELOADING=1")
            hear(b"READY=1")
            proxy.process.send_signal(signal.SIGTERM)
            hear(b"STOPPING=1")
            assert proxy.end() == 0

    def test_versions_go_on_after_a_restart(self, proxy: Proxy) -> None:
        """The second run begins with the version after the last of the first."""
        proxy.start()
        proxy.stop()
        proxy.start()
        assert proxy.ask()[1] == 2
        proxy.stop()
        assert [(line["version"], line["from"]) for line in proxy.journal()] == [(1, 0), (2, 1)]


class TestReload:
    """From a changed file to a new table everywhere."""

    def test_a_changed_file_reaches_every_process(self, two_workers: Proxy) -> None:
        """Both workers and the observer prepare, then commit, and the journal says what changed."""
        proxy = two_workers
        proxy.start()
        proxy.wait_for_version(1)
        proxy.weigh(20)
        for kind in ("worker-0", "worker-1", "observer"):
            proxy.wait_for_note(kind, "commit 2")
            log = proxy.log(kind)
            assert log.index("prepare 2") < log.index("commit 2")
        assert proxy.journal()[-1]["changes"] == ["routes[wine].variants[v2].weight: 5 → 20"]
        proxy.wait_for_version(2)
        assert proxy.fleet()["config"]["version"] == 2
        assert proxy.stop() == 0

    def test_a_bad_file_changes_nothing(self, proxy: Proxy) -> None:
        """The table stays, the observer is told why, and taking the edit back ends the alarm."""
        proxy.start()
        proxy.weigh(500)
        wait_for(lambda: proxy.fleet().get("config", {}).get("last_reload_successful") is False)
        (problem,) = proxy.fleet()["config"]["last_error"]
        assert "500" in problem
        assert proxy.ask()[1] == 1
        proxy.weigh(5)
        wait_for(lambda: proxy.fleet()["config"]["last_reload_successful"])
        assert proxy.fleet()["config"]["version"] == 1
        assert [line["event"] for line in proxy.journal()] == ["publish", "refused"]

    def test_a_vanished_file_keeps_the_table(self, proxy: Proxy) -> None:
        """Without the file the proxy serves on and says that the reload failed."""
        proxy.start()
        (proxy.box / "config.yaml").unlink()
        wait_for(lambda: proxy.fleet().get("config", {}).get("last_reload_successful") is False)
        assert proxy.ask()[1] == 1

    def test_sighup_looks_again(self, proxy: Proxy) -> None:
        """A hang-up with an unchanged file makes no version and counts as a reload."""
        proxy.start()
        wait_for(proxy.fleet)
        proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: proxy.fleet()["config"]["reloads_total"] == 1)
        assert proxy.fleet()["config"]["version"] == 1

    def test_the_observer_may_ask_for_a_reload(self, proxy: Proxy) -> None:
        """A request is answered with what became of it."""
        proxy.tell("observer", "asks")
        proxy.start()
        wait_for(lambda: any(line.startswith("reply") for line in proxy.log("observer")))
        (reply,) = [line for line in proxy.log("observer") if line.startswith("reply")]
        message = orjson.loads(reply.removeprefix("reply "))
        assert (message["id"], message["ok"], message["document"]["result"]) == (7, True, "unchanged")

    def test_one_process_without_space_refuses_for_all(self, two_workers: Proxy) -> None:
        """What one worker cannot hold is effective nowhere; when it can, SIGHUP brings it."""
        proxy = two_workers
        proxy.start()
        proxy.wait_for_version(1)
        proxy.tell("worker-1", "full")
        proxy.weigh(20)
        wait_for(lambda: not proxy.fleet()["config"]["last_reload_successful"])
        assert proxy.fleet()["config"]["last_error"] == ["worker 1: no space left on device"]
        assert "commit 2" not in proxy.log("worker-0")
        proxy.tell("worker-1", "full", on=False)
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_for_version(3)
        proxy.wait_for_note("worker-0", "retire 1 2")
        wait_for(lambda: held(proxy) == [3])

    def test_what_a_process_could_not_hold_is_tried_again(self, two_workers: Proxy) -> None:
        """When there is room again the table comes by itself, with the next number."""
        proxy = two_workers
        proxy.start()
        proxy.wait_for_version(1)
        proxy.tell("worker-1", "full")
        proxy.weigh(20)
        wait_for(lambda: [line["event"] for line in proxy.journal()].count("refused") >= 2)
        proxy.tell("worker-1", "full", on=False)
        wait_for(lambda: proxy.journal()[-1]["event"] == "publish")
        last = proxy.journal()[-1]
        assert (last["by"], last["why"], last["changes"]) == (
            "file",
            "tried again",
            ["routes[wine].variants[v2].weight: 5 → 20"],
        )
        proxy.wait_for_version(last["version"])
        assert proxy.fleet()["config"]["last_reload_successful"]

    def test_a_hung_worker_is_killed_and_does_not_hold_up_the_others(self, two_workers: Proxy) -> None:
        """A worker that does not answer a prepare is replaced, and its successor gets the new table."""
        proxy = two_workers
        proxy.start()
        proxy.wait_for_version(1)
        hung = proxy.pid("worker-1")
        proxy.tell("worker-1", "mute")
        proxy.weigh(20)
        proxy.wait_for_note("worker-0", "commit 2")
        proxy.tell("worker-1", "mute", on=False)
        proxy.wait_for_version(2)
        assert proxy.pid("worker-1") != hung
        assert "it hangs and is killed" in proxy.stderr()

    def test_versions_that_are_over_are_folded(self, proxy: Proxy) -> None:
        """However many reloads there were, only the current version is held, and the observer lets go last."""
        proxy.start()
        wait_for(lambda: held(proxy) == [1])
        for version in range(2, 7):
            proxy.weigh(10 + version)
            proxy.wait_for_note("worker-0", f"commit {version}")
        wait_for(lambda: held(proxy) == [6])
        assert {line for line in proxy.log("worker-0") if line.startswith("retire")}
        log = proxy.log("observer")
        assert log.index("commit 2") < log.index("retire 1")


class TestDeath:
    """What dies is started again, and nobody notices."""

    def test_a_dead_worker_comes_back_with_every_table(self, proxy: Proxy) -> None:
        """A client that connects meanwhile waits and is served by the successor."""
        proxy.start()
        wait_for(proxy.fleet)
        dead = proxy.pid("worker-0")
        os.kill(dead, signal.SIGKILL)
        answered, version = proxy.ask()
        assert (answered != dead, version) == (True, 1)
        wait_for(lambda: proxy.fleet()["workers"][0]["restarts"] == 1)
        wait_for(lambda: proxy.fleet()["workers"][0]["up"])
        assert proxy.fleet()["workers"][0]["pid"] == answered

    def test_a_dead_observer_comes_back_and_traffic_goes_on(self, proxy: Proxy) -> None:
        """Its successor is told everything."""
        proxy.start()
        wait_for(proxy.fleet)
        dead = proxy.pid("observer")
        (proxy.box / "fleet.json").unlink()
        os.kill(dead, signal.SIGKILL)
        assert proxy.ask()[1] == 1
        wait_for(lambda: proxy.fleet().get("observer_restarts") == 1)
        assert proxy.pid("observer") != dead
        assert proxy.fleet()["workers"][0]["up"]

    def test_an_observer_that_never_starts_stops_nothing(self, proxy: Proxy) -> None:
        """The proxy serves and reloads without it."""
        proxy.tell("observer", "dead")
        proxy.start()
        assert proxy.ask()[1] == 1
        proxy.weigh(20)
        wait_for(lambda: proxy.ask()[1] == 2)
        assert proxy.stop() == 0

    def test_a_worker_that_dies_in_a_reload_does_not_count(self, two_workers: Proxy) -> None:
        """The others get the new table, and the successor too."""
        proxy = two_workers
        proxy.start()
        proxy.wait_for_version(1)
        proxy.tell("worker-1", "mute")
        proxy.weigh(20)
        proxy.wait_for_note("worker-1", "prepare 2")
        proxy.tell("worker-1", "mute", on=False)
        os.kill(proxy.pid("worker-1"), signal.SIGKILL)
        proxy.wait_for_version(2)

    def test_children_end_when_the_supervisor_is_killed(self, proxy: Proxy) -> None:
        """The end of the link is an order to drain."""
        proxy.start()
        proxy.wait_for_note("observer", "commit 1")
        proxy.process.kill()
        proxy.end()
        wait_for(lambda: proxy.log("worker-0")[-1] == "closed" and proxy.log("observer")[-1] == "closed")

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_evidence_outlives_its_supervisor(self, proxy: Proxy, number: signal.Signals) -> None:
        """What nobody has said to be stored is there for the next one, and gone once that has it; so without another.

        An observer that could not store everything says nothing, and neither does one that is killed.
        """
        proxy.start()
        proxy.wait_for_note("observer", "commit 1")
        left = Path(proxy.log("observer")[0].split()[2])
        open_evidence(left, "0123456789abcdef", 0, 8).close()
        proxy.process.send_signal(number)
        proxy.end()
        wait_for(lambda: not has_workers(left))
        proxy.start()
        wait_for(lambda: proxy.fleet().get("config", {}).get("version") == 2)
        assert proxy.fleet()["config"]["remnants"] == 1
        (run_dir,) = {Path(line.split()[2]) for line in proxy.log("observer") if line.startswith("start")} - {
            left
        }
        assert remnants(run_dir) == {left.name: left}
        let_go(run_dir, left.name)
        wait_for(lambda: proxy.fleet()["config"]["remnants"] == 0)
        assert not left.exists()
        assert proxy.stop() == 0
        assert not run_dir.exists()


class TestEnd:
    """From the signal to the exit code."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_both_signals_drain(self, proxy: Proxy, number: signal.Signals) -> None:
        """The workers are drained before the observer, and the exit code is 0."""
        proxy.start()
        proxy.process.send_signal(number)
        assert proxy.end() == 0
        assert proxy.log("worker-0")[-1] == "drain"

    def test_a_client_is_refused_while_it_drains(self, proxy: Proxy) -> None:
        """From the signal on nobody waits in vain."""
        proxy.tell("worker-0", "stubborn")
        proxy.start()
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_for_note("worker-0", "drain")
        os.kill(proxy.pid("worker-0"), signal.SIGKILL)
        assert proxy.end() == 0
        with pytest.raises(OSError, match="refused"):
            proxy.ask()

    @only_linux
    def test_nobody_is_let_in_before_the_workers_drain(self, proxy: Proxy) -> None:
        """A worker is told when no new connection can begin, although it still has the socket."""
        proxy.tell("worker-0", "stubborn")
        proxy.start()
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_for_note("worker-0", "drain")
        assert is_turned_away(proxy.url["listening"])
        assert proxy.end() == 0

    @pytest.mark.long
    @only_linux
    def test_nobody_is_let_in_before_the_earlier_workers_drain(self, proxy: Proxy) -> None:
        """The same when only those before an upgrade serve."""
        proxy.start()
        wait_for(proxy.fleet)
        proxy.tell("worker-0", "dead")
        proxy.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: "cannot serve yet" in proxy.stderr())
        proxy.tell("worker-0", "stubborn")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_for_note("worker-0", "drain")
        assert is_turned_away(proxy.url["listening"])
        assert proxy.end() == 0

    def test_a_worker_that_does_not_drain_is_killed(self, proxy: Proxy) -> None:
        """After the drain time the worker is killed, then the observer drains; the exit code is 0."""
        proxy.tell("worker-0", "stubborn")
        proxy.start()
        assert proxy.stop() == 0
        assert "worker 0: not drained within 3 s; killed" in proxy.stderr()
        assert proxy.log("observer")[-1] == "drain"

    def test_a_signal_before_it_serves_ends_it_too(self, proxy: Proxy) -> None:
        """Whoever stops a proxy that is still starting waits for nothing, and the exit code is 0."""
        proxy.tell("worker-0", "mute")
        proxy.launch()
        proxy.wait_for_note("worker-0", "prepare 1")
        assert proxy.stop() == 0
        assert "hangs" not in proxy.stderr()

    def test_a_second_signal_ends_at_once(self, proxy: Proxy) -> None:
        """The processes are killed and the exit code is 1."""
        proxy.tell("worker-0", "stubborn")
        proxy.start()
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_for_note("worker-0", "drain")
        pid = proxy.pid("worker-0")
        assert proxy.stop() == 1
        assert not Path(f"/proc/{pid}").exists()
        assert "not drained" not in proxy.stderr()

    def test_no_run_directory_stays(self, proxy: Proxy) -> None:
        """The counters are gone with the supervisor."""
        proxy.start()
        proxy.wait_for_note("observer", "commit 1")
        run_dir = Path(proxy.log("observer")[0].split()[2])
        assert {path.name for path in run_dir.iterdir()} >= {"w0-1.tally", "o0-1.tally"}
        proxy.stop()
        assert not run_dir.exists()
