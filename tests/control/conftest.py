"""What the tests of the admin address share."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.admin import build_app
from tests.control.admin_site import Client, FakeSurface


@pytest.fixture
def surface() -> FakeSurface:
    return FakeSurface()


@pytest.fixture
async def client(surface: FakeSurface) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(surface))) as connected:
        yield connected
