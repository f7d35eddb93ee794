"""The query server with real TLS clients: who gets in, what is answered, what can never be done, and what stands in the log.

The lake is the one of the theme views (tests/warehouse/test_views.py), beside it a grant's file that shows one more column, and another grant's Parquet file.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from pipelines import cli, compiler, release
from pipelines.contract import datasets
from pipelines.desk import Desk
from pipelines.serving import statements, tokens
from pipelines.settings import WrongUse
from tests.flight import bearer, certificate, client, serving
from tests.states import state
from tests.support import REPOSITORY, desk
from tests.warehouse.test_views import ROWS

PERSONS = "SELECT count(*) AS n FROM population.person"
ENDLESS = "SELECT count(*) FROM range(100000000000) a, range(100000) b"


@dataclass(frozen=True)
class World:
    """A lake with one release, a folder with certificate and tokens, and the tokens themselves."""

    desk: Desk
    folder: Path
    secrets: dict[str, str]

    def publish(self, persons: int) -> None:
        plans = {d.id: compiler.plan(d, ()) for d in datasets(self.desk.project)}
        rows = ROWS | {"population.person": [{"id_number": r["id_number"], "name": "甲"} for r in ROWS["population.death"][:persons]]}
        states = {d: state(self.desk.lake, plans[d], rows[d], f"v{persons}") for d in rows}
        assert release.publish(self.desk.lake, self.desk.project, plans, states, self.desk.ledger, "test")

    def ask(self, server: Any, sql: str, who: str = "analyst") -> list[dict[str, Any]]:
        with client(server, self.folder) as con:
            return con.do_get(flight.Ticket(sql.encode()), bearer(self.secrets[who])).read_all().to_pylist()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "queries.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("serving")
    at = desk(root)
    certificate(root)
    made = World(at, root, {})
    made.publish(1)
    place = at.lake.releases / "grants" / "7"
    place.mkdir(parents=True)
    for name in ("shown", "hidden"):
        duckdb.sql(f"COPY (SELECT '张三' AS name) TO '{place / name}.parquet'")
    with duckdb.connect(str(place / "grant.duckdb")) as con:
        con.execute(f"CREATE SCHEMA population; CREATE VIEW population.person AS SELECT name FROM read_parquet(['{place}/shown.parquet'])")
    for who, role in (("analyst", "analyst"), ("second", "analyst"), ("granted", "grant:7"), ("ended", "grant:8"), ("late", "analyst")):
        made.secrets[who] = tokens.issue(root / "tokens.json", who, role, "2099-12-31")[1]
    held = [replace(t, expires_on="2020-01-01") if t.who == "late" else t for t in tokens.read(root / "tokens.json")]
    tokens._write(root / "tokens.json", held)
    return made


@pytest.fixture(scope="module")
def server(world):
    with serving(world.desk.lake, world.folder, seconds=3, rows=50_000, sessions=4) as found:
        yield found


def refused(world, server, sql, who="analyst"):
    with pytest.raises(flight.FlightError) as found:
        world.ask(server, sql, who)
    return str(found.value)


def test_it_answers_as_the_file_does(world, server):
    sql = "SELECT * FROM population.benefit_after_death ORDER BY ALL"
    with duckdb.connect(str(world.desk.lake.database), read_only=True) as con:
        assert world.ask(server, sql) == con.execute(sql).to_arrow_table().to_pylist() != []
    assert world.ask(server, "SELECT is_resident_id('11010519491231002X') AS v, '男'::ENUM('男', '女') AS s, ['女'::ENUM('男', '女')] AS l") == [{"v": True, "s": "男", "l": ["女"]}]


@pytest.mark.parametrize("sql", ["DESCRIBE population.person", "SHOW ALL TABLES", "SUMMARIZE population.death", "FROM reference.region LIMIT 1", "VALUES (1)",
                                 "WITH a AS (SELECT 1) FROM a; ", "EXPLAIN SELECT 1 -- why", "PIVOT (SELECT 1 AS a, 'x' AS b) ON b IN ('x') USING sum(a)"])
def test_whatever_reads_is_answered(world, server, sql):
    assert world.ask(server, sql)


@pytest.mark.parametrize("sql", [
    "COPY population.person TO '/tmp/stolen.csv'", "COPY (SELECT 1) TO 'here.parquet'", "EXPORT DATABASE 'all'", "ATTACH '/etc/passwd' AS x", "ATTACH ':memory:' AS m",
    "INSTALL httpfs", "LOAD httpfs", "PRAGMA memory_limit='90GB'", "SET threads = 64", "RESET memory_limit", "SET enable_external_access = true", "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1", "DROP VIEW population.person", "DELETE FROM population.person", "CALL force_checkpoint()", "CHECKPOINT", "USE population", "BEGIN",
    "SELECT 1; COPY (SELECT 1) TO 'x'", "PREPARE p AS SELECT 1", "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/stolen.csv'", "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "explain/**/analyze SET threads = 9",
     "SELECT * FROM query('COPY (SELECT 1) TO ''x''')",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_text('/etc/passwd')", "FROM '/etc/passwd'", "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_blob('/proc/self/environ')", "SELECT * FROM sniff_csv('/etc/passwd')", "SELECT getenv('HOME')", "SELECT * FROM server", "nonsense", ""])
def test_whatever_else_is_refused(world, server, sql):
    assert refused(world, server, sql)
    assert not Path("/tmp/stolen.csv").exists()


def test_a_role_reads_its_own_files_and_no_others(world, server):
    assert world.ask(server, "FROM population.person", "granted") == [{"name": "张三"}]
    lake = world.desk.lake
    own = next((lake.releases / "data" / "population.person").glob("*/*.parquet"))
    assert world.ask(server, f"SELECT count(*) AS n FROM '{own}'") == [{"n": 1}]
    for other in (lake.releases / "grants/7/shown.parquet", next(lake.current.glob("population.person/*/rows.parquet")), lake.catalog, lake.home / "lake.json"):
        assert "Permission" in refused(world, server, f"SELECT * FROM read_text('{other}')")
    for other in (own, lake.releases / "grants/7/hidden.parquet", lake.database):
        assert "Permission" in refused(world, server, f"SELECT * FROM read_blob('{other}')", "granted")
    assert "has ended" in refused(world, server, "SELECT 1", "ended")


def test_nobody_gets_in_without_a_token_that_is_good(world, server):
    for options in (bearer("wrong"), bearer(""), bearer(world.secrets["late"]), flight.FlightCallOptions(), flight.FlightCallOptions(headers=[(b"authorization", b"Basic YTpi")])):
        with client(server, world.folder) as con, pytest.raises(flight.FlightUnauthenticatedError):
            con.do_get(flight.Ticket(b"SELECT 1"), options)
        with client(server, world.folder) as con, pytest.raises(flight.FlightUnauthenticatedError):
            con.get_flight_info(flight.FlightDescriptor.for_command(b"SELECT 1"), options)
    assert [line["outcome"] for line in world.log()[-10:]] == ["unauthenticated"] * 10


def test_nobody_gets_in_without_tls_or_past_a_false_certificate(world, server, tmp_path):
    options = flight.FlightCallOptions(timeout=5, headers=[(b"authorization", f"Bearer {world.secrets['analyst']}".encode())])
    certificate(tmp_path)
    for con in (flight.connect(f"grpc://localhost:{server.port}"),
                flight.connect(f"grpc+tls://localhost:{server.port}", tls_root_certs=(tmp_path / "server.pem").read_bytes())):
        with con, pytest.raises((flight.FlightUnavailableError, flight.FlightTimedOutError)):
            con.do_get(flight.Ticket(b"SELECT 1"), options)


def test_revoked_means_from_the_next_question_on(world, server):
    made, secret = tokens.issue(world.folder / "tokens.json", "short", "analyst", "2099-12-31")
    world.secrets["short"] = secret
    assert world.ask(server, "SELECT 1 AS a", "short")
    tokens.revoke(world.folder / "tokens.json", made.id)
    assert "no such token" in refused(world, server, "SELECT 1 AS a", "short")
    assert secret not in (world.folder / "tokens.json").read_text() and (world.folder / "tokens.json").stat().st_mode & 0o077 == 0


def test_time_rows_and_memory_of_a_question_end(world, server):
    began = time.monotonic()
    assert "Stopped after 3 s" in refused(world, server, ENDLESS)
    assert "more than 50,000 rows" in refused(world, server, "FROM range(100000000000)")      # streamed: nobody waits for the rest
    assert "more memory" in refused(world, server, "SELECT len(range(2000000000))")           # 16 GB beside the engine's own limit
    assert "more memory" in refused(world, server, "SELECT len(list(range)) FROM range(2000000000)")
    assert time.monotonic() - began < 120
    assert world.ask(server, PERSONS)      # and the server is well


def test_sessions_are_bounded_and_shared(world, server):
    with ThreadPoolExecutor(5) as pool:
        mine = [pool.submit(refused, world, server, ENDLESS) for _ in range(3)]
        time.sleep(1)
        assert world.ask(server, PERSONS, "second")      # a person has half of the places
        said = sorted("Stopped" in m.result() for m in mine)
    assert said == [False, True, True]
    assert "busy" in [line["outcome"] for line in world.log()]


def test_the_log_says_who_asked_what_without_a_value(world, server):
    world.ask(server, """SELECT '张三' AS "李四", sex_code /* 王五 */ FROM population.person -- 赵六
                         WHERE person_id = '11010519491231002X' OR sex_code IN ('1', $$钱七$$) LIMIT 12345""", "second")
    refused(world, server, "SELECT 张三 FROM population.person WHERE 110105194912310021 = \"周八\"", "second")
    done, failed = world.log()[-2:]
    assert {k: done[k] for k in ("who", "role", "release", "rows", "outcome")} == {"who": "second", "role": "analyst", "release": done["release"], "rows": 0, "outcome": "done"}
    assert done["statement"] == "SELECT ? AS _ , sex_code FROM population . person WHERE person_id = ? OR sex_code IN ( ? , ? ) LIMIT ?"
    assert (failed["statement"], failed["outcome"]) == ("SELECT _ FROM population . person WHERE ? = _", "refused")
    assert (world.folder / "queries.jsonl").stat().st_mode & 0o077 == 0


def test_drivers_of_flight_sql_work(world, server):
    """ADBC stands for JDBC and ODBC: it prepares, lists schemas and tables, and asks what the server is."""
    from adbc_driver_flightsql import dbapi

    given = {"adbc.flight.sql.authorization_header": f"Bearer {world.secrets['analyst']}",
             "adbc.flight.sql.client_option.tls_root_certs": (world.folder / "server.pem").read_text()}
    with dbapi.connect(f"grpc+tls://localhost:{server.port}", db_kwargs=given, autocommit=True) as con, con.cursor() as cursor:
        cursor.execute(PERSONS)
        assert ([c[0] for c in cursor.description], cursor.fetchall()) == (["n"], [(world.ask(server, PERSONS)[0]["n"],)])
        cursor.adbc_prepare("SELECT 2 AS two")
        cursor.execute("SELECT 2 AS two")
        assert cursor.fetchall() == [(2,)]
        [lake] = con.adbc_get_objects(depth="tables", db_schema_filter="population").read_all().to_pylist()
        listed = {t["table_name"] for t in lake["catalog_db_schemas"][0]["db_schema_tables"]}
        assert lake["catalog_name"] == "lake" and {"person", "benefit_after_death"} <= listed
        assert "name" not in con.adbc_get_table_schema("person", db_schema_filter="population").names
        assert con.adbc_get_info()["vendor_name"].startswith("政务基础数据湖")
        with pytest.raises(dbapi.Error):
            cursor.execute("COPY (SELECT 1) TO '/tmp/stolen.csv'")


def test_a_release_is_seen_by_the_next_question_and_disturbs_none_that_runs(world):
    with serving(world.desk.lake, world.folder, seconds=600, sessions=4) as server, client(server, world.folder) as con:
        assert world.ask(server, PERSONS) == [{"n": 1}]
        reader = con.do_get(flight.Ticket(b"SELECT d.range, (SELECT count(*) FROM population.person) AS n FROM range(400000) d"), bearer(world.secrets["analyst"]))
        first = reader.read_chunk().data
        world.publish(2)
        assert world.ask(server, PERSONS) == [{"n": 2}]
        rest = pa.Table.from_batches([first, *reader.to_reader()])
        assert rest.num_rows == 400_000 and rest["n"].unique().to_pylist() == [1]
        release.rollback(world.desk.lake, world.desk.project, world.desk.ledger)
        assert world.ask(server, PERSONS) == [{"n": 1}]


def test_a_reader_who_stopped_reading_does_not_hold_up_the_end(world):
    with serving(world.desk.lake, world.folder, seconds=600, rows=10**12) as server, client(server, world.folder) as con:
        reader = con.do_get(flight.Ticket(b"FROM range(100000000000)"), bearer(world.secrets["analyst"]))
        assert reader.read_chunk()
        began = time.monotonic()
        server.close(1)
        assert time.monotonic() - began < 30
        scratch = Path(server.workers._scratch.name)
        assert not scratch.exists()
        reader.cancel()


def test_the_commands_end_to_end(world, tmp_path, capsys):
    """A server of its own process, a token made and asked with on the command line, and an end by SIGTERM that leaves nothing."""
    file = tmp_path / "tokens.json"
    assert cli.main(["token", "--tokens", str(file), "--for", "李分析", "--until", "2099-12-31"]) == 0
    (tmp_path / "mine").write_text(capsys.readouterr().out.splitlines()[0])
    command = [sys.executable, "-m", "pipelines", "serve", "--port", "0", "--certificate", str(world.folder / "server.pem"), "--key", str(world.folder / "server.key"),
               "--tokens", str(file), "--memory", "200"]
    with subprocess.Popen(command, env=os.environ | {"LAKE_HOME": str(world.desk.lake.home), "LAKE_THREADS": "1", "TMPDIR": str(tmp_path)}, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        where = process.stdout.readline().split()[2].rstrip(":")
        port = where.rpartition(":")[2]
        asked = ["ask", PERSONS, "--server", f"localhost:{port}", "--certificate", str(world.folder / "server.pem"), "--token-file", str(tmp_path / "mine")]
        assert cli.main(asked) == 0 and capsys.readouterr().out.split()[:1] == ["n"]
        assert cli.main([*asked[:1], "DROP VIEW x", *asked[2:]]) == 2 and "one SELECT" in capsys.readouterr().err
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not list(tmp_path.glob("lake-serve-*")) and len((tmp_path / "queries.jsonl").read_text().splitlines()) == 2
    assert cli.main(["token", "--tokens", str(file), "--revoke", "1"]) == 0 and tokens.read(file) == []


def test_tokens_are_for_persons_roles_and_days_that_are(tmp_path):
    for who, role, until, says in (("", "analyst", "2099-01-01", "belongs to a person"), ("a", "admin", "2099-01-01", "no role"), ("a", "grant:../x", "2099-01-01", "no role"),
                                   ("a", "analyst", "2020-01-01", "has passed"), ("a", "analyst", "soon", "soon")):
        with pytest.raises(WrongUse, match=says):
            tokens.issue(tmp_path / "t.json", who, role, until)
    (tmp_path / "t.json").write_text('[{"id": 1}]')
    with pytest.raises(WrongUse, match="not a file of tokens"):
        tokens.Readers(tmp_path / "t.json")


def test_statements_without_values_keep_only_known_words():
    known = frozenset({"t", "a"})
    assert statements.without_values("SELECT a+1e5, b.a -- 张\n FROM t x WHERE a='''q' AND a<>-3 /* 李 */ AND \"A\" = 'z'", known) == \
        "SELECT a + ? , _ . a FROM t _ WHERE a = ? AND a <> - ? AND \"A\" = ?"
