"""The servers, started once per worker."""
from __future__ import annotations

import pytest

from tests import servers


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    with servers.postgresql(tmp_path_factory.mktemp("postgresql")) as found:
        yield found


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    with servers.mariadb(tmp_path_factory.mktemp("mariadb")) as found:
        yield found


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request):
    """Each server in turn."""
    return request.getfixturevalue(request.param)
