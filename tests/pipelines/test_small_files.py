"""Many small files in one batch: read by one statement, they are staged exactly as when each is read alone."""
from __future__ import annotations

import json

import duckdb
import pytest

from pipelines import readers, staged_batches, steps
from pipelines.batch import split_key
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET, FILES = "population.residence", 25


def _files(folder):
    """Files of one part: every third has a row that is quarantined, every fifth one that no reader can split; one repeats a person of another, one is written otherwise."""
    for number in range(FILES):
        rows = [(resident_id(10 * number + n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 9)]
        if number % 3 == 0:
            rows[2] = ("64010419900101000X", *rows[2][1:])
        if number == 7:
            rows[0] = (resident_id(11), *rows[0][1:])
        path = write_csv(folder / f"640100 {number:02d}.csv", HEADER, rows, "gb18030" if number == 4 else "utf-8")
        if number % 5 == 0:
            with open(path, "a", encoding="utf-8") as file:
                file.write("a,b\r\n")
        yield path


@pytest.mark.parametrize("together", [readers.delimited.SMALL, 0], ids=["together", "alone"])
def test_a_batch_of_many_files(tmp_path, monkeypatch, together):
    monkeypatch.setattr(readers.delimited, "SMALL", together)
    at = desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    [one] = steps.submit(DATASET, _files(tmp_path / "sent"), "police", "2026-11-01", desk=at)
    [key] = steps.stage(DATASET, [f"{one.batch_id}~r1"], at)
    found = staged_batches.read(at.lake, *split_key(key))
    assert [u["file"] for u in found.counts["units"]] == list(range(1, FILES + 1))
    assert {u["reading"] for u in found.counts["units"]} == {"records", "lines"}
    assert (found.counts["records"], found.counts["unparseable"], found.counts["lines"]) == (8 * FILES, 5, 9 * FILES + 5)
    assert (found.counts["accepted"], found.counts["quarantined"], found.counts["copies"]) == (8 * FILES - 9 - 1, 9, 1)
    with duckdb.connect() as con:
        kept = con.execute(f"SELECT _file, _ordinal, person_id FROM '{found.folder}/accepted/*.parquet' ORDER BY ALL").fetchall()
        lost = con.execute(f"SELECT _file, _ordinal, rules FROM '{found.folder}/quarantine.parquet' ORDER BY ALL").fetchall()
        assert con.execute(f"SELECT count(DISTINCT (_file, _ordinal)), count(*) FROM '{found.folder}/masks.parquet'").fetchone() == (8 * FILES, 8 * FILES)
    assert [(f, o) for f, o, _ in kept] == sorted({(f, o) for f in range(1, FILES + 1) for o in range(1, 9)} - {(f + 1, 3) for f in range(0, FILES, 3)} - {(8, 1)})
    assert {(f, o) for f, o, rules in lost if rules == ["line.width"]} == {(f + 1, 9) for f in range(0, FILES, 5)}
    assert {(f, o) for f, o, rules in lost if rules[0].startswith("id_number.")} == {(f + 1, 3) for f in range(0, FILES, 3)}
    told = {"kept": [(f, o) for f, o, _ in kept], "rules": found.counts["rules"]}
    assert json.dumps(told, sort_keys=True) == _same.setdefault("told", json.dumps(told, sort_keys=True))


_same: dict[str, str] = {}
