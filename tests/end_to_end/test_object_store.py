"""A lake in an object store: kept there alone, carried on by another machine, never half-visible, and told apart from what it is not."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import boto3
import duckdb
import pytest

from pipelines import gate, pages, settings, site, steps, store
from pipelines.cli import main
from pipelines.desk import Desk
from pipelines.settings import Later, WrongUse
from pipelines.store import care, head as heads, opened, publishing
from pipelines.store.bucket import Bucket, Taken, load_httpfs
from pipelines.verify import verify
from tests.object_store import BUCKET, server
from tests.support import HEADER, RESIDENCE, open_gate, project, resident_id, write_csv

DATASET, SECOND = "population.residence", "population.visitor"
KEY = "ab" * 32
ROWS = 200


class Killed(BaseException):
    """As SIGKILL: nothing in the product may catch it."""


@pytest.fixture(scope="module")
def served():
    with server() as found:
        yield found


@pytest.fixture
def machine(served, tmp_path, monkeypatch):
    """A project of two datasets and an empty prefix; `machine.fresh()` takes the working folder away, as on another machine."""
    monkeypatch.delenv("LAKE_CATALOG", raising=False)
    for name, value in served.items():
        monkeypatch.setenv(name, value)
    visitor = RESIDENCE.replace("population.residence", SECOND).replace("residence,", "visitor,").replace("name: residence", "name: visitor")
    made = project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert"), population__visitor=visitor.replace("LOAD", "upsert"))
    monkeypatch.setenv("LAKE_PROJECT", str(made.root))
    monkeypatch.setenv("LAKE_HOME", f"s3://{BUCKET}/{tmp_path.name}/lake")
    monkeypatch.setenv("LAKE_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("LAKE_PSEUDONYM_KEY", KEY)
    open_gate(monkeypatch)
    return Machine(tmp_path, served)


class Machine:
    def __init__(self, root: Path, served: dict[str, str]):
        self.root, self.work, self.served = root, root / "work", served
        self.bucket = Bucket(settings.lake_store())
        self.s3 = boto3.client("s3")

    def fresh(self) -> None:
        shutil.rmtree(self.work)

    def send(self, dataset: str, date: str, numbers, status: str) -> None:
        rows = [(resident_id(n), "赵一", "1990-01-01", "640104", status, "") for n in numbers]
        file = write_csv(self.root / f"out/{dataset}/{date}/640100.csv", HEADER, rows)
        steps.submit(dataset, [file], "police", date)

    def publish(self, *datasets: str) -> None:
        for dataset in datasets:
            steps.ingest(dataset)
        steps.release()

    def batch(self, date: str, numbers, status: str, datasets=(DATASET,)) -> None:
        with store.session():
            for dataset in datasets:
                self.send(dataset, date, numbers, status)
            self.publish(*datasets)

    def seen(self, database: str = "lake.duckdb", dataset: str = DATASET) -> dict[str, int]:
        """What an analyst sees who has DuckDB, httpfs and credentials, and no file of the lake."""
        with duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}) as con:
            load_httpfs(con)
            con.execute(f"CREATE SECRET (TYPE s3, KEY_ID 'account', SECRET 'word-of-the-account', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, "
                        f"ENDPOINT '{self.served['AWS_ENDPOINT_URL_S3'].removeprefix('http://')}')")
            con.execute(f"ATTACH '{self.bucket.url}/{database}' AS lake (READ_ONLY)")
            return dict(con.execute(f"SELECT status, count(*) FROM lake.{dataset} GROUP BY ALL").fetchall())

    def keys(self) -> set[str]:
        return set(self.bucket.keys())

    def named(self) -> set[str]:
        found = heads.read(self.bucket)
        return publishing._named(publishing.state_of(self.bucket, found), found) | {heads.KEY}


def test_a_lake_lives_in_the_store_and_goes_on_on_another_machine(machine, capsys):
    machine.batch("2026-10-01", range(1, ROWS + 1), "旧", (DATASET, SECOND))
    assert machine.seen() == machine.seen(dataset=SECOND) == {"旧": ROWS}
    assert machine.keys() == machine.named()
    assert not [k for k in machine.keys() if k.startswith(("keys", "locks", "inbox"))]
    machine.fresh()
    machine.batch("2026-11-01", range(101, 301), "新")
    assert machine.seen() == {"旧": 100, "新": 200}
    assert machine.seen("releases/r000001/lake.duckdb") == {"旧": ROWS}
    with store.session():
        assert verify()["findings"] == []
        steps.rollback()
    assert machine.seen() == {"旧": ROWS}
    machine.fresh()
    assert main(["query", f"SELECT count(*) AS n FROM {DATASET}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [[ROWS]]
    assert machine.keys() == machine.named()
