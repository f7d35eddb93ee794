"""The servers, started once per worker."""
from __future__ import annotations

import pytest

from tests import servers


def _started(start, folder):
    try:
        with start(folder) as found:
            yield found
    except servers.Missing as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    yield from _started(servers.postgresql, tmp_path_factory.mktemp("postgresql"))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    yield from _started(servers.mariadb, tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request):
    """Each server in turn."""
    return request.getfixturevalue(request.param)
