"""The servers, in turn."""
from __future__ import annotations

import pytest


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request):
    """Each server in turn."""
    return request.getfixturevalue(request.param)
