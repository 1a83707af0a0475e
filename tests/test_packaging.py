"""The files around the sources agree with each other, with the settings and with an installation."""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from proxy.settings import parse

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "config" / "kubernetes-sidecar.yaml"
VERBS = (
    "help",
    "demo",
    "serve",
    "test",
    "test-fast",
    "test-long",
    "check",
    "format",
    "soak",
    "real",
    "real-servers",
    "simulate",
    "oracles",
    "bench",
    "bench-quick",
    "instructions",
    "conformance",
    "fuzz",
    "audit",
    "peers-table",
    "clean",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continuation lines joined and comments left out."""
    lines = [line for line in read("Dockerfile").splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def instruction(name: str) -> str:
    """Return the argument of the Dockerfile's last instruction called ``name``."""
    return [value for key, value in dockerfile() if key == name][-1]


def copied() -> list[str]:
    """Return what the Dockerfile copies from the build context."""
    copies = [value.split() for key, value in dockerfile() if key == "COPY" and "--from" not in value]
    return [source for *sources, _ in copies for source in sources]


def kubernetes(kind: str) -> dict[str, Any]:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))
    return next(document for document in documents if document["kind"] == kind)


def embedded_config() -> str:
    text: str = kubernetes("ConfigMap")["data"]["modelproxy.yaml"]
    return text


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = kubernetes("Deployment")["spec"]["template"]["spec"]
    return spec


def sidecar() -> dict[str, Any]:
    container: dict[str, Any] = pod()["initContainers"][0]
    return container


def pin_lines() -> list[str]:
    return [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]


def pins() -> dict[str, Version]:
    split = [line.split("==") for line in pin_lines()]
    return {canonicalize_name(name): Version(version) for name, version in split}


def requirements() -> list[Requirement]:
    pyproject = tomllib.loads(read("pyproject.toml"))
    project = pyproject["project"]
    listed = [*project["dependencies"], *pyproject["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        listed += extra
    return [Requirement(line) for line in listed]


class TestConstraints:
    def test_plain_pins(self) -> None:
        """Every line is a comment or one exact version, and no name comes twice."""
        plain = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")
        assert [line for line in pin_lines() if not plain.fullmatch(line)] == []
        assert len(pins()) == len(pin_lines())

    @pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
    def test_covers_pyproject(self, requirement: Requirement) -> None:
        """Each dependency of pyproject.toml has a pin inside its range."""
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


class TestMake:
    def test_verbs(self) -> None:
        """Each verb is a target and is declared phony."""
        targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.M)
        phony = re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.M)[0].split()
        assert set(VERBS) == set(targets) == set(phony)

    def test_help_is_the_default_and_names_every_other_verb(self) -> None:
        """A bare `make` prints one line for each verb and changes nothing."""
        shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert set(VERBS) - {"help"} == set(re.findall(r"^make ([a-z-]+) ", shown, re.M))

    def test_only_syntax_that_every_make_knows(self) -> None:
        """The Makefile uses no feature that only GNU make has."""
        foreign = r"\$\((?:shell|CURDIR|MAKEFILE)|^(?:if|ifeq|ifneq|ifdef|include|export|define)\b|[:?+]=|^%"
        assert re.findall(foreign, read("Makefile"), re.M) == []

    @pytest.mark.parametrize(
        ("available", "sentence"),
        [
            pytest.param("exit 1", "Python 3.11 or newer is needed", id="no python"),
            pytest.param(
                '[ "${2#*ensurepip}" = "$2" ] || exit 1', "apt-get install python3-venv", id="no venv"
            ),
        ],
    )
    def test_says_what_to_install(self, tmp_path: Path, available: str, sentence: str) -> None:
        """Without a usable Python, make stops with one sentence that names the package to install."""
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, tmp_path / name)
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{available}\nexit 0\n", encoding="utf-8")
        python.chmod(0o755)
        refused = subprocess.run(
            ["make", "test", f"PYTHONS={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
        assert sentence in refused.stderr
        assert not (tmp_path / ".venv").exists()

    def test_ci_runs_the_verbs(self) -> None:
        """`.ci/run` is executable, checks, soaks and tests all: the last line is pytest's summary."""
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
        lines = read(".ci/run").splitlines()
        assert {"make check", "make soak SECONDS=120", "make test-long"} <= set(lines)
        assert lines[-1] == "make test"


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def healthy_admin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class TestDockerfile:
    def test_copies_what_exists_and_the_context_has(self) -> None:
        """Every source of a COPY exists and is let through by .dockerignore."""
        let_through = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
        assert let_through == set(copied())
        assert [source for source in copied() if not (ROOT / source).exists()] == []

    def test_runs_without_root(self) -> None:
        """The user is numeric and not root, and owns the working directory, where state goes."""
        uid, gid = instruction("USER").split(":")
        assert int(uid) > 0
        assert f"install -d -o {uid} -g {gid} -m 0700 {instruction('WORKDIR')}" in instruction("RUN")

    def test_extras_are_known(self) -> None:
        """Every value of the build argument names extras of the package, and the default is said once."""
        known = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
        assert LIBRARIES.keys() <= known.keys()
        named = {name for value in arguments_of_builds() for name in value.split(",") if name}
        assert named == LIBRARIES.keys()

    def test_starts_serve(self) -> None:
        """The image runs `modelproxy serve` on the mounted file."""
        assert orjson.loads(instruction("ENTRYPOINT")) == ["modelproxy"]
        assert orjson.loads(instruction("CMD")) == ["serve", "/etc/modelproxy/modelproxy.yaml"]

    def test_health_check_passes_and_fails(self, healthy_admin: str) -> None:
        """The health check succeeds against a healthy admin address and fails against a closed one."""
        arguments = orjson.loads(instruction("HEALTHCHECK").split("CMD ", 1)[1])
        assert arguments[0] == "python"
        command = [sys.executable, *arguments[1:]]
        for admin, healthy in ((healthy_admin, True), ("http://127.0.0.1:9", False)):
            done = subprocess.run(
                command, env={**os.environ, "MODELPROXY_ADMIN": admin}, capture_output=True, check=False
            )
            assert healthy == (done.returncode == 0)

    def test_holds_no_secret(self) -> None:
        """Neither build arguments nor environment variables of the image name a token or key."""
        variables = [value for key, value in dockerfile() if key in {"ENV", "ARG"}]
        assert [value for value in variables if re.search("TOKEN|KEY|SECRET|PASSWORD", value)] == []


class TestKubernetes:
    def test_embedded_configuration_is_valid(self) -> None:
        """The configuration inside the ConfigMap parses, with nothing but the container's own variables."""
        names = {variable["name"] for variable in sidecar()["env"]}
        assert names == set(re.findall(r"\$\{([A-Z_]+)\}", embedded_config()))
        settings = parse(embedded_config(), environ=dict.fromkeys(names, "f" * 64))
        assert settings.routes[0].name == "wine"

    def test_ports_agree(self) -> None:
        """Configuration, container, probes, annotations, Service and image name the same two ports."""
        config = yaml.safe_load(embedded_config())
        ports = {port["name"]: str(port["containerPort"]) for port in sidecar()["ports"]}
        assert {"http": config["listen"].split(":")[1], "admin": config["admin"].split(":")[1]} == ports
        assert [ports["http"], ports["admin"]] == instruction("EXPOSE").split()
        assert instruction("ENV").endswith(f"MODELPROXY_ADMIN=http://127.0.0.1:{ports['admin']}")
        annotations = kubernetes("Deployment")["spec"]["template"]["metadata"]["annotations"]
        assert (ports["admin"], "/metrics") == (
            annotations["prometheus.io/port"],
            annotations["prometheus.io/path"],
        )
        assert kubernetes("Service")["spec"]["ports"][0]["targetPort"] == "http"
        probes = {
            name: sidecar()[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")
        }
        assert {"admin"} == {probe["port"] for probe in probes.values()}
        assert [probe["path"] for probe in probes.values()] == ["/readyz", "/readyz", "/healthz"]

    def test_champion_is_the_container_next_door(self) -> None:
        """The champion's address is the model container's port."""
        config = yaml.safe_load(embedded_config())
        port = pod()["containers"][0]["ports"][0]["containerPort"]
        assert f"http://127.0.0.1:{port}" == config["models"]["wine-v1"]["url"]

    def test_mounts_agree_with_the_image(self) -> None:
        """Configuration and state are mounted, as whole directories, where the image looks for them."""
        mounts = {mount["name"]: mount for mount in sidecar()["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in pod()["volumes"]}
        assert str(Path(orjson.loads(instruction("CMD"))[1]).parent) == mounts["config"]["mountPath"]
        assert instruction("WORKDIR") == mounts["state"]["mountPath"]
        assert not any("subPath" in mount for mount in mounts.values())

    def test_objects_refer_to_each_other(self) -> None:
        """Selectors, labels, ConfigMap and Secret names match."""
        labels = kubernetes("Deployment")["spec"]["template"]["metadata"]["labels"]
        assert labels == kubernetes("Deployment")["spec"]["selector"]["matchLabels"]
        assert labels == kubernetes("Service")["spec"]["selector"]
        config = next(volume for volume in pod()["volumes"] if volume["name"] == "config")
        assert kubernetes("ConfigMap")["metadata"]["name"] == config["configMap"]["name"]
        secrets = {variable["valueFrom"]["secretKeyRef"]["name"] for variable in sidecar()["env"]}
        text = MANIFEST.read_text(encoding="utf-8")
        assert [name for name in secrets if f"create secret generic {name} " not in text] == []

    def test_drain_fits_into_the_grace_period(self) -> None:
        """The Pod is given longer than the model's preStop and the proxy's drain take together."""
        drain = int(yaml.safe_load(embedded_config())["timeouts"]["drain"].removesuffix("s"))
        stop = pod()["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert drain + stop < pod()["terminationGracePeriodSeconds"]

    def test_security_context(self) -> None:
        """The Pod runs as the image's user, not as root, and the sidecar's file system is read-only."""
        uid, gid = instruction("USER").split(":")
        security = pod()["securityContext"]
        assert (int(uid), int(gid), int(gid)) == (
            security["runAsUser"],
            security["runAsGroup"],
            security["fsGroup"],
        )
        assert security["runAsNonRoot"]
        assert sidecar()["securityContext"]["readOnlyRootFilesystem"]
        assert not sidecar()["securityContext"]["allowPrivilegeEscalation"]


def copy_build_context(target: Path) -> None:
    """Copy what the Dockerfile copies, and nothing else."""
    target.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)


def arguments_of_builds() -> list[str]:
    """Return each value of EXTRAS that the Dockerfile or the README says, and none at all."""
    default = next(value for key, value in dockerfile() if key == "ARG").removeprefix("EXTRAS=")
    return sorted(
        {"", default, *re.findall(r"--build-arg EXTRAS=(\S*)", read("README.md") + read("Dockerfile"))}
    )


LIBRARIES = {"kafka": "confluent_kafka", "parquet": "pyarrow", "query": "duckdb"}
"""What a name in EXTRAS lets a program import."""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("extras", arguments_of_builds())
def test_installs_as_the_dockerfile_does(tmp_path: Path, extras: str) -> None:
    """The Dockerfile's steps, in a fresh environment, end in a command that runs and ships `config/`, with the
    libraries that were asked for and no others."""
    source = tmp_path / "src"
    copy_build_context(source)
    build = next(value for key, value in dockerfile() if key == "RUN")
    for place in ("/dist", "/opt/modelproxy"):
        build = build.replace(place, f"{tmp_path}{place}")
    constraints = str(source / "constraints.txt")
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": constraints,
        "PIP_BUILD_CONSTRAINT": constraints,
        "EXTRAS": extras,
    }
    subprocess.run(["sh", "-ec", build], cwd=source, env=environ, check=True)

    wheel = next((tmp_path / "dist").glob("modelproxy-*.whl"))
    packed = zipfile.ZipFile(wheel).namelist()
    assert {f"proxy/config/{path.name}" for path in (ROOT / "config").iterdir()} <= set(packed)
    assert [name for name in packed if name.startswith(("tests/", "benchmarks/"))] == []

    command = tmp_path / "opt" / "modelproxy" / "bin" / "modelproxy"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [command, "--help"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True
    )
    assert "serve" in done.stdout

    python = command.parent / "python"
    for name, library in LIBRARIES.items():
        tried = subprocess.run(
            [python, "-c", f"import {library}"], cwd=tmp_path, env=bare, capture_output=True, check=False
        )
        assert (tried.returncode == 0) == (name in extras.split(",")), library
