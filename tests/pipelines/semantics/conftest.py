"""One connection with the project's code lists and macros for all tests of semantic types."""
from __future__ import annotations

import pytest

from pipelines.semantics import reference
from pipelines.settings import Project
from pipelines.sql import connect
from tests.support import REPOSITORY


@pytest.fixture(scope="session")
def con():
    made = connect()
    project = Project(REPOSITORY)
    reference.load(made, project)
    reference.load_macros(made, project)
    yield made
    made.close()


@pytest.fixture(scope="session")
def staging_con():
    """The same, as staging has it: with constants and enums in the place of look-ups."""
    made = connect()
    project = Project(REPOSITORY)
    reference.load(made, project)
    reference.load_macros(made, project)
    reference.constant(made)
    yield made
    made.close()
