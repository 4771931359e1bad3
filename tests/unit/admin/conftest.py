"""The server that the tests of this directory ask."""

from collections.abc import AsyncIterator

import pytest
from unit.admin.asking import Admin, serving


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with serving() as admin:
        yield admin
