"""Where the ledger and the catalogue may live, and that a lake is never opened the other way round."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import catalogue, locks, steps, trouble
from pipelines.backup import backup, restore
from pipelines.desk import Desk
from pipelines.failures import may_pass, tell
from pipelines.ledger import Ledger
from pipelines.locks import confirm, writer
from pipelines.settings import Lake, LockLost, WrongUse
from pipelines.verify import verify
from tests import servers
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, forget_databases, resident_id, small_project, write_csv

DATASET = "population.residence"
MOUNTS = """23 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 23 0:35 / /srv/share rw,relatime shared:9 - nfs4 server:/lake rw,vers=4.2
41 40 0:36 / /srv/share/disk\\040two rw,relatime - xfs /dev/vdb rw
42 23 0:37 / /mnt/office rw - cifs //server/office rw
"""


@pytest.mark.parametrize(("place", "kind"), [("/srv/share/lake", "nfs4"), ("/mnt/office/a/b", "cifs"), ("/srv/share/disk two/lake", None), ("/home/lake", None),
                                             ("/srv/shared", None)])
def test_sqlite_on_a_network_file_system_is_refused_with_the_remedy(tmp_path, place, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    if kind is None:
        return catalogue.refuse_network(type(tmp_path)(place), mounts)
    with pytest.raises(WrongUse, match=f"network file system .{kind}.*LAKE_CATALOG"):
        catalogue.refuse_network(type(tmp_path)(place), mounts)


def test_the_kernel_s_own_list_is_read(tmp_path):
    assert catalogue.filesystem(tmp_path, type(tmp_path)("/proc/self/mountinfo"))
    assert catalogue.filesystem(type(tmp_path)("/proc"), type(tmp_path)("/proc/self/mountinfo")) == "proc"


def test_a_lake_is_not_opened_the_other_way_round(tmp_path, monkeypatch):
    monkeypatch.delenv(catalogue.SETTING, raising=False)
    lake = Lake.open(tmp_path / "lake")
    Ledger(lake)
    monkeypatch.setenv(catalogue.SETTING, "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(WrongUse, match="catalogue --move"):
        Ledger(lake)
    other = Lake.open(tmp_path / "other")
    monkeypatch.delenv(catalogue.SETTING)
    with pytest.raises(WrongUse, match="Set LAKE_CATALOG"):
        Ledger(other)
    monkeypatch.setenv(catalogue.SETTING, "mysql://somewhere/lake")
    with pytest.raises(WrongUse, match="postgresql://user"):
        Ledger(other)


def test_what_is_shown_of_the_address_holds_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.SETTING, "postgresql://lake:s3cret@db.example/base")
    lake = Lake.open(tmp_path / "lake")
    assert catalogue.describe(lake) == {"kind": "postgresql", "place": f"postgresql+psycopg://lake:***@db.example/base schema {lake.schema}"}


# From here on a real PostgreSQL server.


@pytest.fixture
def server(postgresql, monkeypatch):
    """The address of a database in which lakes may make their schemas."""
    monkeypatch.delenv(catalogue.SETTING, raising=False)
    return postgresql.url(servers.OWNER, servers.OWNER_WORD).render_as_string(hide_password=False)


def made(root, *datasets: str):
    contracts = {d.replace(".", "__"): RESIDENCE.replace("LOAD", "upsert").replace("population.residence", d).replace("- name: residence", f"- name: {d.partition('.')[2]}")
                 for d in datasets}
    return desk(root, small_project(root / "project", **contracts))


def send(at, dataset: str, day: str, numbers) -> None:
    rows = [(resident_id(n), "赵一", "1990-01-01", "640104", day, "") for n in numbers]
    steps.submit(dataset, [write_csv(at.lake.home.parent / f"out/{dataset}/{day}/640100.csv", HEADER, rows)], "police", day, desk=at)


def ingest(at, dataset: str) -> None:
    steps.commit(dataset, steps.judge(dataset, steps.stage(dataset, steps.receive(dataset, desk=at), at), at), at)


@pytest.mark.long
def test_two_lakes_in_one_database_do_not_mix_and_verify_holds(tmp_path, server, monkeypatch):
    monkeypatch.setenv(catalogue.SETTING, server)
    one, two = made(tmp_path / "one", DATASET), made(tmp_path / "two", DATASET)
    for at, numbers in ((one, range(1, 6)), (two, range(1, 9))):
        send(at, DATASET, "2026-10-01", numbers)
        ingest(at, DATASET)
        steps.release(at)
    for at, rows in ((one, 5), (two, 8)):
        assert duckdb.connect(str(at.lake.database), read_only=True).execute(f"SELECT count(*) FROM {DATASET}").fetchone() == (rows,)
        assert verify(at)["findings"] == []
        assert not at.lake.catalog.exists()


@pytest.mark.long
def test_the_catalogue_moves_to_postgresql_and_everything_goes_on(tmp_path, server, monkeypatch):
    at = made(tmp_path, DATASET)
    send(at, DATASET, "2026-10-01", range(1, 6))
    ingest(at, DATASET)
    steps.release(at)
    for engine in (at.ledger.engine, catalogue.iceberg(at.lake).engine):
        engine.dispose()
    environment = os.environ | {"LAKE_HOME": str(at.lake.home), "LAKE_PROJECT": str(at.project.root), "PYTHONPATH": str(REPOSITORY), catalogue.SETTING: server}
    command = [sys.executable, "-m", "pipelines"]
    refused = subprocess.run([*command, "status"], env=environment, capture_output=True, text=True)
    assert refused.returncode == 2 and "catalogue --move" in refused.stderr
    moved = subprocess.run([*command, "catalogue", "--move"], env=environment, capture_output=True, text=True)
    assert moved.returncode == 0 and f"schema {at.lake.schema}" in moved.stdout, moved.stderr
    assert sorted(p.name for p in at.lake.home.glob("catalog*")) == ["catalog.moved"]
    monkeypatch.setenv(catalogue.SETTING, server)
    moved_desk = Desk(at.project, Lake.open(at.lake.home))
    assert verify(moved_desk)["findings"] == []
    send(moved_desk, DATASET, "2026-11-01", range(3, 9))
    ingest(moved_desk, DATASET)
    assert steps.release(moved_desk)["release_id"] == 2
    assert [r["id"] for r in moved_desk.ledger.rows(sa.select(sa.column("id")).select_from(sa.table("ledger_steps")).order_by("id"))][-1] > 5
    again = subprocess.run([*command, "catalogue", "--move"], env=environment, capture_output=True, text=True)
    assert again.returncode == 2 and "already" in again.stderr
    monkeypatch.delenv(catalogue.SETTING)
    with pytest.raises(WrongUse, match="Set LAKE_CATALOG"):
        Desk(at.project, Lake.open(at.lake.home)).ledger.rows(sa.select(sa.literal(1)))


@pytest.mark.long
def test_two_workers_ingest_different_datasets_at_once(tmp_path, server, monkeypatch):
    monkeypatch.setenv(catalogue.SETTING, server)
    ids = ("population.residence", "population.visit")
    at = made(tmp_path, *ids)
    for dataset in ids:
        for day in ("2026-09-01", "2026-10-01"):
            send(at, dataset, day, range(1, 30))
    environment = os.environ | {"LAKE_HOME": str(at.lake.home), "LAKE_PROJECT": str(at.project.root), "PYTHONPATH": str(REPOSITORY), catalogue.SETTING: server}
    workers = [subprocess.Popen([sys.executable, "-m", "pipelines", "ingest", d], env=environment, stderr=subprocess.PIPE, text=True) for d in (*ids, ids[0])]
    assert [w.wait(timeout=300) for w in workers] == [0, 0, 0], [w.stderr.read() for w in workers]
    steps.release(at)
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert [con.execute(f"SELECT count(*) FROM {d}").fetchone()[0] for d in ids] == [29, 29]
    assert verify(at)["findings"] == []


def test_one_writer_across_machines_and_a_lost_lock_is_noticed(tmp_path, server, monkeypatch):
    """Two connections stand for two machines: nothing local takes part."""
    monkeypatch.setenv(catalogue.SETTING, server)
    lake = made(tmp_path, DATASET).lake
    with writer(lake, DATASET):
        with pytest.raises(WrongUse, match="another process"), writer(lake, DATASET, wait=0.3):
            pass
        with writer(lake, "population.other", wait=0.3):
            confirm(lake)
        con = locks._held[str(lake.home), DATASET]
        pid = con.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with catalogue.engine(lake).begin() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(LockLost, match="Nothing was made visible"):
            confirm(lake)
    with writer(lake, DATASET, wait=1):
        pass


def test_a_connection_that_the_server_ends_is_trouble_of_the_machine(tmp_path, server, monkeypatch):
    monkeypatch.setenv(catalogue.SETTING, server)
    at = made(tmp_path, DATASET)
    with pytest.raises(sa.exc.DBAPIError) as caught, at.ledger.engine.connect() as con:
        pid = con.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with at.ledger.transaction() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        con.execute(sa.text("SELECT 1"))
    assert trouble.of(caught.value) == trouble.CONNECTION and may_pass(caught.value)
    assert "The database that holds catalogue and ledger cannot be reached" in tell(caught.value)
    assert at.ledger.batch("population.residence~police~all~2026-01-01~1") is None, "the next connection is a new one"
    monkeypatch.setenv(catalogue.SETTING, "postgresql://lake@127.0.0.1:1/lake")
    with pytest.raises(sa.exc.OperationalError) as caught:
        Desk(at.project, at.lake).ledger  # noqa: B018
    assert trouble.of(caught.value) == trouble.CONNECTION


@pytest.mark.long
def test_a_backup_of_a_lake_on_sqlite_is_restored_onto_postgresql_and_back(tmp_path, server, monkeypatch):
    at = made(tmp_path, DATASET)
    send(at, DATASET, "2026-10-01", range(1, 6))
    ingest(at, DATASET)
    steps.release(at)
    rows = at.ledger.rows(sa.select(sa.text("batch_id, state, accepted")).select_from(sa.table("ledger_batches")))
    for n, setting in enumerate((server, None), 1):
        backup(tmp_path / f"place{n}", at)
        key = (at.lake.keys / "pseudonym.key").read_bytes()
        shutil.rmtree(at.lake.home)
        forget_databases()
        (at.lake.home / "keys").mkdir(parents=True)
        (at.lake.home / "keys/pseudonym.key").write_bytes(key)
        monkeypatch.setenv(catalogue.SETTING, setting) if setting else monkeypatch.delenv(catalogue.SETTING)
        assert restore(tmp_path / f"place{n}", at.lake.home)["catalogue"] == ("postgresql" if setting else "sqlite")
        at = Desk(at.project, Lake.open(at.lake.home))
        assert verify(at)["findings"] == [] and at.lake.catalog.exists() == (setting is None)
        assert at.ledger.rows(sa.select(sa.text("batch_id, state, accepted")).select_from(sa.table("ledger_batches"))) == rows
        send(at, DATASET, f"2026-1{n}-01", range(3, 9))
        ingest(at, DATASET)
        rows = at.ledger.rows(sa.select(sa.text("batch_id, state, accepted")).select_from(sa.table("ledger_batches")))
    assert steps.release(at)["release_id"] == 2
