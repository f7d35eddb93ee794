"""The real steps with every change a delta: what is published, what the pipeline's account reads, folding by `maintain`, and nothing for `verify` to find."""
from __future__ import annotations

import duckdb
import pytest

from pipelines import current, deltas, layout, release as publication, steps
from pipelines.maintenance import maintain
from pipelines.verify import verify
from tests.support import HEADER, RESIDENCE, desk, open_gate, resident_id, small_project, write_csv

DATASET = "population.residence"
ROWS = f"SELECT birth_year, region_code, status, _source, _stale_since FROM {DATASET} ORDER BY ALL"


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    for where, key, value in ((current, "LARGE", 0), (deltas, "SHARE", 9), (layout, "LARGE", 1), (layout, "RANGE", 1_000)):
        monkeypatch.setattr(where, key, value)
    open_gate(monkeypatch)


def ask(file, sql: str = ROWS) -> list[tuple]:
    with duckdb.connect(str(file), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_deltas_go_through_the_real_steps_and_are_folded_outside_the_release(tmp_path, monkeypatch):
    at = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    sent = (("police", [(1, "甲", ""), (2, "甲", ""), (3, "甲", "")]), ("grid", [(2, "乙", ""), (4, "乙", "")]), ("police", [(1, "丙", ""), (2, "", "D"), (3, "", "D")]))
    for number, (source, rows) in enumerate(sent, 1):
        file = write_csv(tmp_path / f"out/{number}/640100.csv", HEADER, [(resident_id(n), "赵一", "1990-01-01", "640104", word, op) for n, word, op in rows])
        steps.submit(DATASET, [file], source, f"2026-0{number}-01", desk=at)
        steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at), at)
        steps.release(at)
    want = [(1990, "640104", "丙", "police", None), (1990, "640104", "乙", "grid", None), (1990, "640104", "乙", "grid", None)]
    assert ask(at.lake.database) == want and len(publication.kept(at.lake)[-1]["relations"][DATASET]["superseded"]) == 3
    assert sorted(r[0] for r in ask(at.lake.restricted, f"SELECT id_number FROM {DATASET}")) == sorted(map(resident_id, (1, 2, 4)))
    assert [(r[0], r[1]) for r in ask(at.lake.database, f"SELECT _change, status FROM {DATASET}_changes ORDER BY ALL")] == [("deleted", "甲"), ("updated", "丙"), ("updated", "乙")]
    assert verify(at)["findings"] == []
    monkeypatch.setattr(current, "FEW", 1)
    assert maintain([DATASET], desk=at)[0]["parts"] == 3 and maintain([DATASET], desk=at)[0]["parts"] == 0
    assert ask(at.lake.database) == want and len(ask(at.lake.restricted, f"FROM {DATASET}")) == 3, "what is open goes on"
    assert steps.release(at)["written"] == []
    after = publication.kept(at.lake)[-1]["relations"][DATASET]
    assert ask(at.lake.database) == want and len(after["superseded"]) == 1 and after["version"] == publication.kept(at.lake)[-2]["relations"][DATASET]["version"]
    assert ask(at.lake.database, f"SELECT count(*) FROM {DATASET}_changes") == [(0,)] and verify(at)["findings"] == []
