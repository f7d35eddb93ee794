"""Maintenance: folding changes no answer, what a release stands on stays, and nothing is left that nobody names."""
from __future__ import annotations

import random

import duckdb
import pytest

from pipelines import base, catalogue, folding, objects, release as publication, segments, steps
from pipelines.maintenance import maintain
from pipelines.rebuild import rebuild, replay
from pipelines.settings import WrongUse
from pipelines.status import why
from tests.support import HEADER, RESIDENCE, desk, open_gate, resident_id, small_project, write_csv

DATASET = "population.residence"


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    open_gate(monkeypatch)


def row(number: int, status: str = "在住", op: str = "", **changed: str) -> tuple:
    found = {"id_number": resident_id(number), "name": "赵一", "birth_date": "1990-01-01", "region_code": "640104", "status": status} | changed
    return (*found.values(), op)


def made(root, load: str):
    return desk(root, small_project(root / "project", population__residence=RESIDENCE.replace("LOAD", load)))


def send(at, day: str, rows: list[tuple], source: str = "police", part: str = "640100", **options) -> list[str]:
    file = write_csv(at.lake.home.parent / f"out/{source}-{day}-{random.random()}/{part}.csv", HEADER, rows)
    steps.submit(DATASET, [file], source, day, desk=at, **options)
    keys = steps.receive(DATASET, desk=at)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    steps.commit(DATASET, passed, at)
    return passed


def current_rows(at) -> list[tuple]:
    found = steps.derive(at, at.plan(DATASET))
    return duckdb.sql(f"SELECT * EXCLUDE (person_id, _key) FROM '{found.rows}' ORDER BY id_number").fetchall()


def random_batches(seed: int) -> list[tuple[str, list[tuple], str, str]]:
    """Nine monthly batches from two sources and two parts: changes, deletions, rejected rows, rows of one key in both parts."""
    pick = random.Random(seed)
    found = []
    for month in range(1, 10):
        source, part = pick.choice(("police", "grid")), pick.choice(("640100", "640200"))
        numbers = pick.sample(range(1, 30), pick.randint(4, 14))
        rows = []
        for n in numbers:
            kind = pick.random()
            if kind < 0.15:
                rows.append(row(n, f"m{month}", "D"))
            elif kind < 0.3:
                rows.append(row(n, f"m{month}", name="钱??"))
            elif kind < 0.4:
                rows.append(row(n, f"m{month}", id_number=resident_id(n)[:-1] + ("0" if resident_id(n)[-1] != "0" else "1"), name=f"赵{'甲乙丙丁'[n % 4]}"))
            else:
                rows.append(row(n, f"m{month}", name=f"赵{'甲乙丙丁'[n % 4]}"))
        found.append((f"2026-{month:02d}-01", rows, source, part))
    return found


@pytest.mark.parametrize("load", [pytest.param("upsert", marks=pytest.mark.long), "snapshot"])
def test_folding_at_any_time_changes_neither_today_s_rows_nor_tomorrow_s(tmp_path, load):
    seed = 20261101
    batches, pick = random_batches(seed), random.Random(seed)
    plain, folded = made(tmp_path / "plain", load), made(tmp_path / "folded", load)
    for n, (day, rows, source, part) in enumerate(batches):
        send(plain, day, rows, source, part)
        send(folded, day, rows, source, part)
        if n in (3, 6):
            before = current_rows(folded)
            done = maintain([DATASET], batches[pick.randint(n - 1, n)][0], folded)[0]
            assert done["folded"] >= n - 1 and done["rows"] <= done["rows_before"]
            assert current_rows(folded) == before
        assert current_rows(folded) == current_rows(plain), day
    versions = base.state(folded.lake, folded.plan(DATASET)).segments
    assert len([s for s in versions if s.startswith(segments.BASELINE)]) == 1 and len(versions) < len(base.state(plain.lake, plain.plan(DATASET)).segments)
    assert rebuild(DATASET, folded)["batches"] == len(batches)
    assert current_rows(folded) == current_rows(plain)
    assert not base.state(folded.lake, folded.plan(DATASET)).before


def test_a_batch_from_before_the_baseline_is_held_until_rebuild_unfolds(tmp_path):
    at = made(tmp_path, "upsert")
    for day in ("2026-01-01", "2026-02-01", "2026-06-01"):
        send(at, day, [row(1, day)])
    maintain([DATASET], "2026-06-01", at)
    assert send(at, "2026-01-15", [row(2, "late")]) == []
    held = at.ledger.batch(f"{DATASET}~police~640100~2026-01-15~1")
    assert held["state"] == "held" and "are folded" in held["reason"] and f"rebuild {DATASET}" in held["reason"]
    assert why(held["batch_id"], at)["remedy"].startswith("As said above: unfold")
    with pytest.raises(WrongUse, match="dated before 2026-06-01 and folded"):
        replay(at, at.plan(DATASET), [at.ledger.batch(f"{DATASET}~police~640100~2026-02-01~1")])
    rebuild(DATASET, at)
    keys = steps.receive(DATASET, desk=at)
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, keys, at), at), at)
    assert [r[4] for r in current_rows(at)] == ["2026-06-01", "late"]


def test_snapshots_of_kept_releases_can_be_read_and_others_are_gone(tmp_path, monkeypatch):
    at = made(tmp_path, "upsert")
    monkeypatch.setattr(publication, "KEEP", 2)
    for n, day in enumerate(("2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"), 1):
        send(at, day, [row(n, day)])
        steps.release(at)
    send(at, "2026-04-01", [row(4, "corrected")], correct=True)
    table = catalogue.iceberg(at.lake).load_table(("population", "residence"))
    manifests = publication.kept(at.lake)
    assert len(manifests) == 2 and len(table.snapshots()) > 4
    folder = at.lake.base / DATASET
    (folder / "data/left~r1").mkdir()
    (folder / "data/left~r1/rows.parquet").write_bytes(b"left by a kill")
    (folder / "metadata/left.avro").write_bytes(b"left by a kill")
    (at.lake.staging / f"{DATASET}~police~640100~2025-01-01~1~r1.part").mkdir()
    done = maintain([DATASET], desk=at)[0]
    table.refresh()
    pinned = publication.pinned(at.lake, DATASET)
    assert {s.snapshot_id for s in table.snapshots()} == pinned | {table.current_snapshot().snapshot_id}
    for snapshot, rows in zip(sorted(pinned, key=lambda s: table.snapshot_by_id(s).timestamp_ms), (3, 4)):
        assert table.scan(snapshot_id=snapshot).to_arrow().num_rows == rows
    assert [r for r in table.scan().to_arrow()["status"].to_pylist() if r == "corrected"] == ["corrected"]
    on_disk = {str(p) for p in (folder / "metadata").iterdir()}
    assert on_disk == segments.metadata_files(table) and done["snapshots"] > 0 and done["files"] > 0
    assert not (folder / "data/left~r1").exists() and not list(at.lake.staging.glob("*.part"))
    assert {p for p in objects.entries(at.ledger) if p.startswith(f"base/{DATASET}/")} == {
        str(p.relative_to(at.lake.home)) for p in folder.rglob("*") if p.is_file()}
    again = maintain([DATASET], desk=at)[0]
    assert (again["snapshots"], again["files"]) == (0, 0)


def test_the_retention_setting_decides_what_is_folded(tmp_path, monkeypatch):
    at = made(tmp_path, "upsert")
    for n, day in enumerate(("2024-01-01", "2024-02-01", "2024-03-01", "2026-01-01"), 1):
        send(at, day, [row(n, day)])
    monkeypatch.setenv("LAKE_FOLD_DAYS", "none")
    with pytest.raises(WrongUse, match="LAKE_FOLD_DAYS"):
        maintain([DATASET], desk=at)
    monkeypatch.setenv("LAKE_FOLD_DAYS", "700")
    assert maintain([DATASET], desk=at)[0]["folded"] == 0
    monkeypatch.delenv("LAKE_FOLD_DAYS")
    assert folding.retention_day(base.state(at.lake, at.plan(DATASET))) == "2024-11-27"
    assert maintain([DATASET], desk=at)[0]["folded"] == 3
    assert len(current_rows(at)) == 4


def test_a_folded_row_still_tells_where_it_came_from(tmp_path):
    at = made(tmp_path, "upsert")
    for n, day in enumerate(("2026-01-01", "2026-02-01", "2026-03-01"), 1):
        send(at, day, [row(n, day)])
    maintain([DATASET], "2026-03-01", at)
    found = duckdb.sql(f"SELECT _batch, _file, _ordinal FROM '{steps.derive(at, at.plan(DATASET)).rows}' ORDER BY 1").fetchall()
    assert found == [(f"{DATASET}~police~640100~2026-{n:02d}-01~1", 1, 1) for n in (1, 2, 3)]
