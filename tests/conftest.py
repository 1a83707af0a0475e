"""What all tests share: laws try the same examples on every machine, and who looks at the clock has it alone."""

from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.turns import in_the_room

settings.register_profile("modelproxy", deadline=None, derandomize=True)
settings.load_profile("modelproxy")


def is_beside_others(config: pytest.Config) -> bool:
    """Tell whether other processes run tests too (``-n 2``)."""
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long: what comes last is so short that all processes end together."""
    if is_beside_others(config):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests marked ``alone`` run while no other process runs any."""
    if not is_beside_others(item.config):
        return (yield)
    with in_the_room(item.get_closest_marker("alone") is not None):
        return (yield)
