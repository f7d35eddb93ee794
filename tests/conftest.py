"""One sample, taken through every step once, for all tests that look at the result."""
from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pytest
from xdist.scheduler import LoadScopeScheduling

from pipelines import landing, steps
from pipelines.contract import datasets
from pipelines.desk import Desk
from pipelines.sample import generate
from tests import servers
from tests.support import desk

# Tests drop complete files; those of the inbox itself set this themselves.
os.environ.setdefault("LAKE_SETTLE_SECONDS", "0")
# Tests of what is removed do not wait for a working day; those of sessions set this themselves.
os.environ.setdefault("LAKE_KEEP_HOURS", "0")

PERSONS = 6_000
LOOK_AT_SAMPLE = ("test_analyst_account.py", "test_docs.py", "test_engines.py", "test_leaks.py", "test_recipes.py", "test_truth.py", "test_view_answers.py")
BATCH_DATE = "2026-11-01"


@dataclass(frozen=True)
class Run:
    """A lake after one sample run, and the truth about it."""

    desk: Desk
    truth: Path
    outcomes: dict[str, dict]
    staged: Path

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection with the truth (`defects`, `leads`, `personal_values`), addresses (`unit`) and quarantine."""
        con = duckdb.connect()
        for name in ("defects", "leads", "personal_values"):
            con.execute(f"CREATE VIEW {name} AS FROM '{self.truth}/{name}.parquet'")
        con.execute("CREATE TABLE unit(dataset VARCHAR, source VARCHAR, batch_date DATE, file VARCHAR, batch_id VARCHAR, revision INTEGER, _file INTEGER)")
        for manifest in sorted(self.desk.lake.landing.glob("*/*/*/*/*/manifest.json")):
            found = landing.read_manifest(manifest.parent)
            con.executemany("INSERT INTO unit VALUES (?, ?, ?, ?, ?, ?, ?)", [
                (found.dataset, found.source, found.batch_date, f.name, found.batch_id, found.revision, f.number) for f in found.files])
        con.execute("CREATE TABLE quarantine(batch_id VARCHAR, _file INTEGER, _ordinal BIGINT, rules VARCHAR[])")
        for file in sorted(self.desk.lake.quarantine.glob("*/*.parquet")):
            con.execute("INSERT INTO quarantine SELECT ?, _file, _ordinal, rules FROM read_parquet(?)", [steps.split_key(file.stem)[0], str(file)])
        return con

    def add_marks(self, con: duckdb.DuckDBPyConnection) -> None:
        """Add `mark`(batch_id, rule, column, reason, outcome 'failed'|'repaired', _file, _ordinal) of every rule of every batch."""
        con.execute('CREATE TABLE mark(batch_id VARCHAR, rule VARCHAR, "column" VARCHAR, reason VARCHAR, outcome VARCHAR, _file INTEGER, _ordinal BIGINT)')
        for folder in sorted(self.staged.iterdir()):
            for rule in json.loads((folder / "plan.json").read_text())["rules"]:
                for outcome in ("failed", "repaired"):
                    con.execute(f"INSERT INTO mark SELECT ?, ?, ?, ?, ?, _file, _ordinal FROM '{folder}/masks.parquet' WHERE _{outcome}_{rule['mask']} & {1 << rule['bit']} <> 0",
                                [steps.split_key(folder.name)[0], rule["rule"], rule["column"], rule["reason"], outcome])


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """The sample of `PERSONS` persons, ingested and released without Airflow."""
    root = tmp_path_factory.mktemp("run")
    at = desk(root)
    made = generate(at.lake.inbox, PERSONS, 7, date.fromisoformat(BATCH_DATE), truth=root / "truth")
    outcomes = {}
    for found in datasets(at.project):
        keys = steps.receive(found.id, desk=at)
        staged = steps.stage(found.id, keys, at)
        for key in staged:
            shutil.copytree(at.lake.staging / key, root / "staged" / key, ignore=shutil.ignore_patterns("accepted"))
        passed = steps.judge(found.id, staged, at)
        if passed:
            steps.commit(found.id, passed, at)
        outcomes[found.id] = {"keys": keys, "passed": passed, "troubles": steps.report(found.id, keys, at)}
    assert steps.release(at)
    return Run(at, Path(made.truth), outcomes, root / "staged")


def _started(start, folder):
    try:
        with start(folder) as found:
            yield found
    except servers.Missing as reason:
        pytest.fail(str(reason))      # without its servers the suite would prove less than it says


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """A PostgreSQL server, started once per worker."""
    yield from _started(servers.postgresql, tmp_path_factory.mktemp("postgresql"))


@pytest.fixture(scope="session", autouse=True)
def catalogue_of_the_setting(request):
    """LAKE_TEST_CATALOGUE=postgresql: every lake of every test has its catalogue on a PostgreSQL server."""
    if os.environ.get("LAKE_TEST_CATALOGUE") == "postgresql":
        server = request.getfixturevalue("postgresql")
        os.environ["LAKE_CATALOG"] = server.url(servers.OWNER, servers.OWNER_WORD).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """A MariaDB server, started once per worker."""
    yield from _started(servers.mariadb, tmp_path_factory.mktemp("mariadb"))


class Sharing(LoadScopeScheduling):
    """Tests of one file stay together, and so do all files that look at the sample: it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.partition("::")[0].rpartition("/")[2]
        return "sample" if name in LOOK_AT_SAMPLE else name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The commands of the documents change the sample as a user would: whoever looks at it looks before."""
    items.sort(key=lambda item: item.path.name == "test_docs.py")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    """How tests go to workers."""
    return Sharing(config, log)
