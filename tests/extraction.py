"""What tests of databases as sources share: a contract over a table, the table itself, and what landing holds of it."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import landing, steps
from pipelines.desk import Desk
from tests.servers import Server
from tests.support import RESIDENCE, desk, small_project

CONNECTION = "population_office"
DATASET = "population.residence"
DAY = "2026-11-{:02d}"
COLUMNS = ("sfzh", "xm", "csrq", "qh", "zt", "gxsj")
_SERVERS = RESIDENCE[RESIDENCE.index("servers:"):RESIDENCE.index("schema:")]
_SERVER = """servers:
  - server: office
    type: {type}
    customProperties:
      - {{property: department, value: 人口办}}
      - {{property: uscc, value: 11640000MB1Y00011H}}
      - {{property: connection, value: {connection}}}
      - {{property: aliases, value: {{id_number: [sfzh], name: [xm], region_code: [qh], status: [zt]}}}}
"""


def contract(dialect: str, load: str = "upsert", composite: bool = False, **keys: Any) -> str:
    """The residence contract with one database as its source."""
    given = {"table": "residence", "extract": "compare", "rows_per_second": 10_000_000} | keys
    server = _SERVER.format(type=dialect, connection=CONNECTION) + "".join(f"      - {{property: {k}, value: {v!r}}}\n" for k, v in given.items())
    text = RESIDENCE.replace(_SERVERS, server).replace("LOAD", load)
    return text.replace("semanticType: region_code, classification: internal}", "semanticType: region_code, classification: internal, primaryKey: true}") if composite else text


@dataclass
class Bench:
    """A lake whose only source is the table `residence` of a server."""

    server: Server
    root: Path
    desk: Desk
    days: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, server: Server, root: Path, monkeypatch: Any, composite: bool = False, **keys: Any) -> Bench:
        monkeypatch.setenv(f"LAKE_CONNECTION_{CONNECTION.upper()}", server.reader)
        text = contract(server.dialect, composite=composite, **keys)
        return cls(server, root, desk(root, small_project(root / "project", population__residence=text)))

    def declare(self, composite: bool = False, **keys: Any) -> None:
        """Change the contract."""
        (self.desk.project.contracts / "population/residence.yaml").write_text(contract(self.server.dialect, composite=composite, **keys), encoding="utf-8")

    def extract(self, day: str | None = None, again: bool = False) -> dict[str, Any]:
        """Extract for a day: the next one unless given."""
        if day is None:
            day = DAY.format(len(self.days) + 1)
            self.days.append(day)
        return steps.extract(DATASET, day, None, again, self.desk)[0]

    def ingest(self) -> list[str]:
        """Take everything in; returns the keys that were accepted."""
        keys = steps.receive(DATASET, desk=self.desk)
        passed = steps.judge(DATASET, steps.stage(DATASET, keys, self.desk), self.desk)
        if passed:
            steps.commit(DATASET, passed, self.desk)
        return passed

    def landed(self, found: dict[str, Any]) -> list[dict[str, str]]:
        """The rows of an extracted batch, in order."""
        folder = landing.folder(self.desk.lake, found["batch_id"], found["revision"])
        rows = duckdb.connect().execute("FROM read_parquet($1)", [str(folder / "0001.parquet")])
        names = [c[0] for c in rows.description]
        return [dict(zip(names, row)) for row in rows.fetchall()]

    def manifest(self, found: dict[str, Any]) -> str:
        """What was written beside an extracted batch."""
        return (landing.folder(self.desk.lake, found["batch_id"], found["revision"]) / "submitted-manifest.json").read_text(encoding="utf-8")


def create(server: Server, key: str = "sfzh", text: str = "VARCHAR(60)", extra: str = "") -> None:
    """An empty table `residence` that the reader may read; `gxsj` is when a row changed."""
    stamp = "TIMESTAMP(6)" if server.dialect == "postgresql" else "DATETIME(6)"
    kind = text if server.dialect == "postgresql" else f"{text} COLLATE utf8mb4_bin"
    server.run("DROP TABLE IF EXISTS residence CASCADE", f"CREATE TABLE residence (sfzh {kind} NOT NULL, xm {text}, csrq DATE, qh VARCHAR(12) NOT NULL, zt VARCHAR(200), "
               f"gxsj {stamp} NULL, secret VARCHAR(40), PRIMARY KEY ({key}){extra})")
    server.grant("residence")


def insert(server: Server, rows: list[tuple]) -> None:
    """Insert rows of `COLUMNS`."""
    statement = sa.text(f"INSERT INTO residence ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})")
    if rows:
        with server.admin() as con, con.begin():
            con.execute(statement, [dict(zip(COLUMNS, row)) for row in rows])


def generate(server: Server, rows: int) -> None:
    """Fill `residence` with so many distinct rows, made by the server."""
    if server.dialect == "postgresql":
        numbers, name, day, moment = (f"SELECT generate_series(1, {rows}) AS i", "'张' || mod(i, 997)", "DATE '1950-01-01' + mod(i, 20000)",
                                      "TIMESTAMP '2026-01-01' + i * INTERVAL '1 second'")
    else:
        numbers, name, day, moment = (f"SELECT seq AS i FROM seq_1_to_{rows}", "concat('张', mod(i, 997))", "DATE_ADD('1950-01-01', INTERVAL mod(i, 20000) DAY)",
                                      "DATE_ADD('2026-01-01', INTERVAL i SECOND)")
    create(server)
    server.run(f"INSERT INTO residence SELECT 64000000000000000 + i, {name}, {day}, '640104', 'v', {moment}, 'not for the lake' FROM ({numbers}) n")
