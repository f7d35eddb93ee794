"""A lake in an object store: kept there alone, carried on by another machine, never half-visible, and told apart from what it is not."""
from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import boto3
import duckdb
import pytest
import sqlalchemy as sa
from pyiceberg.table import StaticTable

from pipelines import ledger_tables as tables, settings, site, steps, store, tasks
from pipelines.cli import main
from pipelines.desk import Desk
from pipelines.settings import Later, WrongUse
from pipelines.status import query
from pipelines.store import care, head as heads, opened, publishing
from pipelines.store.bucket import Bucket, load_httpfs
from pipelines.store.folder import Folder
from pipelines.verify import verify
from pipelines.withdrawal import withdraw
from tests.object_store import BUCKET, server
from tests.support import HEADER, RESIDENCE, forget_databases, open_gate, project, resident_id, write_csv

DATASET, SECOND = "population.residence", "population.visitor"
ROWS = 200
OLD, NEW = {"旧": ROWS}, {"旧": 100, "新": 200}


class Killed(BaseException):
    """As SIGKILL: nothing in the product may catch it."""


def _die(*_args, **_kwargs):
    raise Killed


class Machine:
    """A lake in the store, and the machine that works on it: what a new one lacks is taken away by `fresh`."""

    def __init__(self, root: Path, served: dict[str, str]):
        self.root, self.work, self.served = root, root / "work", served
        self.bucket, self.s3 = Bucket(settings.lake_store()), boto3.client("s3")

    def fresh(self) -> None:
        """Another machine; only what an engine makes for itself, slowly, is handed on."""
        made = self.root / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for file in (self.work / "staging").glob(".*.duckdb"):
            file.rename(made / file.name)
        shutil.rmtree(self.work)
        (self.work / "staging").mkdir(parents=True)
        for file in made.iterdir():
            file.rename(self.work / "staging" / file.name)

    def keep(self) -> None:
        """Remember folder and store as they are now."""
        shutil.copytree(self.work, self.root / "kept", symlinks=True)
        self._objects = {k: self._get(k) for k in self.keys()}

    def again(self) -> None:
        """Folder and store as they were remembered."""
        shutil.rmtree(self.work)
        shutil.copytree(self.root / "kept", self.work, symlinks=True)
        forget_databases()
        self.bucket.remove(self.keys() - set(self._objects))
        tags = {o["Key"]: o["ETag"].strip('"') for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET) for o in page.get("Contents", ())}
        for key, (content, facts) in self._objects.items():
            if tags.get(self._full(key)) != hashlib.md5(content).hexdigest():
                self.s3.put_object(Bucket=BUCKET, Key=self._full(key), Body=content, Metadata=facts)

    def send(self, dataset: str, date: str, numbers, status: str) -> None:
        rows = [(resident_id(n), "赵一", "1990-01-01", "640104", status, "") for n in numbers]
        steps.submit(dataset, [write_csv(self.root / f"out/{dataset}/{date}/640100.csv", HEADER, rows)], "police", date)

    def batch(self, date: str, numbers, status: str, datasets=(DATASET,)) -> None:
        """One session: submissions come in, are ingested and released."""
        with store.session():
            for dataset in datasets:
                self.send(dataset, date, numbers, status)
                steps.ingest(dataset)
            steps.release()

    def second(self) -> None:
        self.batch("2026-11-01", range(101, 301), "新")

    def seen(self, database: str = "lake.duckdb", dataset: str = DATASET) -> dict[str, int]:
        """What an analyst sees who has DuckDB, httpfs and credentials, and no file of the lake."""
        with duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}) as con:
            load_httpfs(con)
            con.execute("CREATE SECRET (TYPE s3, KEY_ID 'account', SECRET 'word-of-the-account', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, "
                        f"ENDPOINT '{self.served['AWS_ENDPOINT_URL_S3'].removeprefix('http://')}')")
            con.execute(f"ATTACH '{self.bucket.url}/{database}' AS lake (READ_ONLY)")
            return dict(con.execute(f"SELECT status, count(*) FROM lake.{dataset} GROUP BY ALL").fetchall())

    def keys(self) -> set[str]:
        return set(self.bucket.keys())

    def state(self) -> dict:
        return publishing.state_of(self.bucket, heads.read(self.bucket))

    def named(self) -> set[str]:
        """Every object that the lake stands on."""
        return {e["key"] for e in self.state()["files"].values()} | opened.named(self.state()) | {heads.KEY, heads.read(self.bucket).state[0]}

    def _full(self, key: str) -> str:
        return f"{self.bucket.url.removeprefix(f's3://{BUCKET}/')}/{key}"

    def _get(self, key: str) -> tuple[bytes, dict[str, str]]:
        found = self.s3.get_object(Bucket=BUCKET, Key=self._full(key))
        return found["Body"].read(), found["Metadata"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two datasets of 200 rows, released."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch, server() as served:
        patch.delenv("LAKE_CATALOG", raising=False)
        visitor = RESIDENCE.replace(DATASET, SECOND).replace("name: residence", "name: visitor")
        given = project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert"), population__visitor=visitor.replace("LOAD", "upsert"))
        for name, value in {**served, "LAKE_PROJECT": str(given.root), "LAKE_HOME": f"s3://{BUCKET}/province/lake", "LAKE_WORK": str(root / "work"),
                            "LAKE_PSEUDONYM_KEY": "ab" * 32}.items():
            patch.setenv(name, value)
        open_gate(patch)
        patch.setattr(site, "describe", lambda *_: None)
        found = Machine(root, served)
        found.batch("2026-10-01", range(1, ROWS + 1), "旧", (DATASET, SECOND))
        found.keep()
        yield found


@pytest.fixture
def machine(made):
    made.again()
    return made


def test_a_lake_lives_in_the_store_and_goes_on_on_another_machine(machine, capsys):
    assert machine.seen() == machine.seen(dataset=SECOND) == OLD
    assert machine.keys() == machine.named() and not [k for k in machine.keys() if k.startswith(("keys", "locks", "inbox", "staging"))]
    assert not any(word in content for content, _ in machine._objects.values() for word in (b"word-of-the-account", b"ab" * 32, bytes.fromhex("ab" * 32)))
    machine.fresh()
    machine.second()
    assert machine.seen() == NEW and machine.seen("releases/r000001/lake.duckdb") == OLD
    with store.session():
        assert verify()["findings"] == []
        steps.rollback()
    assert machine.seen() == OLD
    machine.fresh()
    assert main(["query", f"SELECT count(*) AS n FROM {DATASET}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [[ROWS]]
    assert machine.keys() == machine.named()


def test_other_engines_open_the_tables_where_they_are_kept(machine):
    [metadata] = [k for k in machine.keys() if k.startswith(f"base/{DATASET}/metadata/00001-")]
    table = StaticTable.from_metadata(f"{machine.bucket.url}/{metadata}", {
        "s3.endpoint": machine.served["AWS_ENDPOINT_URL_S3"], "s3.access-key-id": "account", "s3.secret-access-key": "word-of-the-account", "s3.region": "us-east-1"})
    assert table.scan().to_arrow().num_rows == ROWS


def test_deaths_while_putting_leave_the_old_lake_or_the_new_one(machine, monkeypatch):
    died = []
    for where, what, moved in ((Bucket, "send", False), (heads, "advance", False), (Folder, "enter", True)):
        with monkeypatch.context() as patch, pytest.raises(Killed), store.session():
            patch.setattr(where, what, _die)
            if not died:
                machine.send(DATASET, "2026-11-01", range(101, 301), "新")
                steps.ingest(DATASET)
                steps.release()
        assert machine.seen() == OLD, what      # what analysts open is copied to its place after the head
        assert ("releases/r000002/manifest.json" in machine.state()["files"]) is moved
        assert {"head.json", *(e["key"] for e in machine.state()["files"].values())} <= machine.keys()
        died.append(what)
    with store.session():
        pass
    assert machine.seen() == NEW
    assert machine.keys() == machine.named() and heads.read(machine.bucket).writer is None
    assert care.findings() == []


def test_what_a_lost_machine_did_not_finish_is_as_if_it_had_never_been(machine, monkeypatch, capsys):
    before, unfinished = machine.state(), "landing/population.residence/police"
    with monkeypatch.context() as patch, pytest.raises(Killed), store.session():
        patch.setattr(heads, "advance", _die)
        machine.send(DATASET, "2026-11-01", range(101, 301), "新")
    assert any(k.startswith(unfinished) and "2026-11-01" in k for k in machine.keys())
    lost = machine.root / "lost"
    machine.work.rename(lost)
    machine.work.mkdir()
    with pytest.raises(Later, match="has been writing since .* store --take-over"), store.session():
        raise AssertionError("two machines are at work")
    assert main(["store", "--take-over"]) == 0
    with store.session():
        assert [r["batch_date"] for r in Desk.open().ledger.rows(sa.select(tables.batches.c.batch_date))] == ["2026-10-01"] * 2
        machine.send(SECOND, "2026-11-01", range(1, 3), "新")
    assert machine.keys() == machine.named() and not any(k.startswith(unfinished) and "2026-11-01" in k for k in machine.keys())
    assert machine.state()["files"].keys() > before["files"].keys() - {"catalog.db"}
    shutil.rmtree(machine.work)
    lost.rename(machine.work)
    forget_databases()
    with pytest.raises(WrongUse, match="work that never reached .* submissions that only it has"), store.session():
        raise AssertionError("the lake has gone on without this folder")
    capsys.readouterr()


def test_a_machine_that_was_taken_over_while_at_work_makes_nothing_visible(machine):
    with pytest.raises(Later, match="another machine took over"), store.session():
        machine.send(DATASET, "2026-11-01", range(101, 301), "新")
        found = heads.read(machine.bucket)
        heads.claim(machine.bucket, found, "another", anyway=True)
    assert heads.read(machine.bucket).state == found.state
    with pytest.raises(Later, match="another machine wrote there meanwhile"):
        heads.advance(machine.bucket, found, ("states/x", "0"))      # it read the head before


def test_processes_of_one_machine_share_its_claim(machine):
    with store.session():
        claimed = heads.read(machine.bucket)
        with store.session():
            machine.send(DATASET, "2026-11-01", range(101, 103), "新")
        assert tasks.call("steps.report", DATASET, []) == []      # as a task of Airflow does
        inner = heads.read(machine.bucket)
        assert inner.writer == claimed.writer and inner.generation == claimed.generation + 1      # the task had nothing to put
    assert heads.read(machine.bucket).writer is None


def test_looking_claims_and_changes_nothing(machine, capsys):
    before = heads.read(machine.bucket)
    heads.claim(machine.bucket, before, "another")
    for command in (["status"], ["query", f"SELECT count(*) FROM {DATASET}"], ["store"]):
        assert main([*command, "--json"]) == 0, command
    assert heads.read(machine.bucket).state == before.state
    assert main(["ingest", DATASET]) == 1
    assert "has been writing since" in capsys.readouterr().err


def test_a_withdrawn_record_leaves_the_store(machine):
    with store.session():
        [key] = [r[0] for r in query(f"SELECT person_id FROM {DATASET} LIMIT 1")["rows"]]
        before = {p: e["key"] for p, e in machine.state()["files"].items() if p.startswith(f"releases/data/{DATASET}/")}
        withdraw(DATASET, [key], "个人信息保护法第四十七条", "文号一")
    after = {p: e["key"] for p, e in machine.state()["files"].items()}
    touched = {p for p, k in before.items() if after[p] != k}
    assert touched and not {before[p] for p in touched} & machine.keys()
    assert machine.seen() == machine.seen("releases/r000001/lake.duckdb") == {"旧": ROWS - 1}
    assert machine.keys() == machine.named()


@pytest.mark.long
def test_damage_is_found_and_mended(machine, capsys):
    places = [next(k for k in machine.keys() if k.startswith(f"base/{DATASET}/data/")), "lake.duckdb",
              next(k for k in machine.keys() if k.startswith("landing/") and k.endswith("manifest.json"))]
    facts = machine._get(places[0])[1]
    machine.s3.put_object(Bucket=BUCKET, Key=machine._full(places[0]), Body=b"other", Metadata=facts)
    machine.s3.put_object(Bucket=BUCKET, Key=machine._full(places[1]), Body=b"other", Metadata=machine._get(places[1])[1])
    machine.s3.delete_object(Bucket=BUCKET, Key=machine._full(places[2]))
    assert {f["path"].removeprefix(f"{machine.bucket.url}/") for f in care.findings()} == set(places)
    kept = machine.work.rename(machine.root / "aside")
    with pytest.raises(WrongUse, match="other bytes than were put there|is missing"), store.session():
        raise AssertionError("a damaged lake was opened")
    shutil.rmtree(machine.work)
    kept.rename(machine.work)
    forget_databases()
    assert main(["store", "--mend"]) == 0 and care.findings() == []
    assert machine.seen() == OLD
    capsys.readouterr()


@pytest.mark.long
def test_a_lost_store_is_made_again_from_a_backup(machine, capsys):
    place = machine.root / "backup"
    assert main(["backup", str(place)]) == 0
    assert main(["restore", str(place)]) == 2 and "There is a lake at" in capsys.readouterr().err
    machine.bucket.remove(machine.keys())
    shutil.rmtree(machine.work)
    forget_databases()
    assert main(["restore", str(place)]) == 0
    assert machine.seen() == OLD and machine.keys() == machine.named()
    machine.fresh()
    with store.session():
        assert Desk.open().ledger.batch(f"{DATASET}~police~640100~2026-10-01~1")["state"] == "accepted"


def test_a_file_of_base_that_changed_here_is_not_put(machine):
    with pytest.raises(WrongUse, match="is not what it was and was not put.*verify"), store.session():
        next((machine.work / "base" / DATASET / "data").rglob("*.parquet")).write_bytes(b"other")
    assert machine.seen() == OLD


def test_files_of_grants_do_not_lie_where_analysts_read():
    assert publishing._key("releases/grants/1/rows.parquet", "ab12", None) == "objects/ab/ab12"
    assert publishing._key("releases/data/x/rows.parquet", "ab12", None) == "releases/data/x/rows.parquet"


def _machine_without(name: str, patch, machine) -> None:
    """Take one thing away that the lake needs."""
    if name == "boto3":
        patch.setitem(sys.modules, "boto3", None)
    elif name == "credentials":
        for word in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(word)
        for word in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            patch.setenv(word, str(machine.root / "none"))
    elif name == "the key":
        machine.fresh()
        patch.setenv("LAKE_PSEUDONYM_KEY", "cd" * 32)
    else:
        setting, _, value = name.partition("=")
        patch.setenv(setting, value.replace("WORK", str(machine.work)))


def test_what_is_missing_is_said_with_the_remedy(machine, monkeypatch, capsys):
    before = heads.read(machine.bucket)
    for name, code, words in [
            ("boto3", 2, "needs boto3. Install it"), ("credentials", 2, "there are no credentials. Set AWS_ACCESS_KEY_ID"),
            ("LAKE_HOME=s3://no-such-bucket/lake", 2, "no bucket no-such-bucket. Make it first"), ("LAKE_HOME=s3://no-such-bucket", 2, "s3://bucket/prefix"),
            ("AWS_ENDPOINT_URL_S3=http://127.0.0.1:9", 1, "cannot be reached .* AWS_ENDPOINT_URL_S3"), ("AWS_ENDPOINT_URL_S3=nowhere", 2, "settings .* do not work"),
            ("LAKE_CATALOG=postgresql://account:word-of-the-account@127.0.0.1/lake", 2, "Unset LAKE_CATALOG"), ("LAKE_WORK=WORK-elsewhere", 2, "Set LAKE_WORK="),
            ("LAKE_HOME=WORK", 2, "Set LAKE_HOME=s3://"), ("LAKE_S3_STYLE=other", 2, "say path or virtual"), ("the key", 2, "Put the pseudonym key")]:
        with monkeypatch.context() as patch:
            _machine_without(name, patch, machine)
            assert main(["status"]) == code, name
        said = capsys.readouterr().err
        assert re.search(words, said) and "word-of-the-account" not in said, (name, said)
    assert heads.read(machine.bucket) == before


def test_without_httpfs_nothing_is_published_and_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb_extension_httpfs", None)
    monkeypatch.setenv("HOME", "/nonexistent")
    with duckdb.connect(config={"extension_directory": "/nonexistent"}) as con, pytest.raises(WrongUse, match="pip install duckdb-extension-httpfs==1"):
        load_httpfs(con)


class Deaf(Bucket):
    """A network that loses the answer to every put, so that it is sent again."""

    def put(self, key: str, content: bytes, only_if: str | None = None) -> str:
        super().put(key, content, only_if)
        return super().put(key, content, only_if)


def test_a_put_whose_answer_was_lost_is_not_taken_for_another_machines(machine):
    deaf = Deaf(machine.bucket.url)
    claimed = heads.claim(deaf, heads.read(deaf), "folder")
    assert heads.release(deaf, claimed) == heads.read(machine.bucket)


class Careless(Bucket):
    """A store that writes whatever the condition says."""

    def put(self, key: str, content: bytes, only_if: str | None = None) -> str:
        return super().put(key, content)


def test_a_store_that_ignores_conditions_is_refused(made):
    with pytest.raises(WrongUse, match="ignores If-None-Match or If-Match"):
        heads.begin(Careless(f"s3://{BUCKET}/careless/lake"), "folder")
    assert heads.read(Bucket(f"s3://{BUCKET}/careless/lake")) is None
