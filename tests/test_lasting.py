"""What lasts is not looked at, and what comes later is."""

import subprocess
import sys

PROGRAM = """
import gc
from proxy.lasting import lasting

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node

def nodes():
    return sum(type(each) is Node for each in gc.get_objects())

try:
    with lasting():
        assert not gc.isenabled()
        cycle()
        raise ImportError
except ImportError:
    pass
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
gc.collect()
assert nodes() == 0, "what lasts is in no generation"
cycle()
assert nodes() == 1
gc.collect()
assert nodes() == 0, "what came later was collected"
print(gc.get_threshold())
"""


def test_the_collector_leaves_what_lasts_alone() -> None:
    """Also when something fails inside: afterwards the collector is at work, on what comes later alone."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
