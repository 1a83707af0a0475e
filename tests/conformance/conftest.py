"""One running proxy for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.conformance.stage import Stage, open_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A proxy between a scripted client and a scripted model server."""
    with open_stage(tmp_path_factory.mktemp("conformance")) as stage:
        yield stage
