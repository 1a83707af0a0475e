"""The limit of open files is raised, and a shortage is said in words."""

import resource
import subprocess
import sys

import pytest

from proxy.open_files import needed, shortage
from proxy.settings import parse

CONFIG = """
limits: {connections: 500}
models:
  one: {url: "http://127.0.0.1:1", max_connections: 100}
  two: {url: "http://127.0.0.1:2", max_connections: 30}
  idle: {url: "http://127.0.0.1:3", max_connections: 9000}
routes:
  - name: a
    match: {path: "/a/*"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: canary, weight: 5}
    shadows: [{model: two}]
  - name: b
    match: {path: "/b/*"}
    variants: [{name: v1, model: one, role: champion}]
"""

RAISED = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
from proxy.open_files import raise_limit
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.slow
def test_limit_is_raised() -> None:
    """A process with a low limit has the highest that it may have afterwards."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    said, limit = map(int, subprocess.check_output([sys.executable, "-c", RAISED]).split())
    assert said == limit
    assert limit == hard or limit >= 10_240


def test_needs_what_may_be_open() -> None:
    """Clients, each model that answers once, each shadow's pool again, and some; no model that nobody uses."""
    settings = parse(CONFIG, environ={})
    assert needed(settings) == 500 + 100 + 30 + 30 + 128
    assert shortage(settings, needed(settings)) == ""
    assert shortage(settings, resource.RLIM_INFINITY) == ""


def test_shortage_names_both_numbers() -> None:
    """What is said when files are too few names what there is, what is needed, and what to do."""
    sentence = shortage(parse(CONFIG, environ={}), 700)
    assert all(word in sentence for word in ("700", "788", "LimitNOFILE", "limits.connections"))


STREAMS = """
import os, subprocess, sys
os.close(0)
os.close(2)
from proxy.open_files import hold_standard_streams
hold_standard_streams()
child = "import os; print(*[os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 2)])"
sys.exit(subprocess.call([sys.executable, "-c", child]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_standard_streams_are_held() -> None:
    """A program that was started without them has the null device there, and so have its children."""
    assert subprocess.check_output([sys.executable, "-c", STREAMS]).split() == [b"/dev/null"] * 2
