"""`verify` sees every flipped byte, lost file and wrong count; backups bring all of it back."""
from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import backup, base, ledger_tables as tables, objects, release as publication, segments, steps
from pipelines.backup import restore, restore_files
from pipelines.desk import Desk
from pipelines.maintenance import maintain
from pipelines.rebuild import rebuild
from pipelines.settings import Lake, WrongUse
from pipelines.verify import verify
from tests.support import HEADER, RESIDENCE, Kept, desk, forget_databases, open_gate, project, resident_id, write_csv

DATASET = "population.residence"


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    open_gate(monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Five batches with quarantined rows, the last one corrected; five releases; a baseline; a sixth release."""
    root = tmp_path_factory.mktemp("verify")
    made = desk(root, project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    with pytest.MonkeyPatch.context() as patch:
        open_gate(patch)
        for month in (7, 8, 9, 10, 11):
            send(made, f"2026-{month:02d}-01", range(month, month + 12))
            steps.release(made)
        send(made, "2026-11-01", range(20, 30), correct=True)
        maintain([DATASET], "2026-09-01", made)
        steps.release(made)
    return Kept(made)


@pytest.fixture
def at(kept):
    return kept.again()


def send(at, day: str, numbers, **options) -> None:
    rows = [(resident_id(n), "赵一" if n % 5 else "钱??", "1990-01-01", "640104", day, "") for n in numbers]
    file = write_csv(at.lake.home.parent / f"out/{day}-{random.random()}/640100.csv", HEADER, rows)
    steps.submit(DATASET, [file], "police", day, desk=at, **options)
    steps.commit(DATASET, steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at), at)


def lasting(at) -> list[Path]:
    """Landing, data, metadata, quarantine, current and release files, and no other."""
    return [p for root in ("landing", "base", "quarantine", "current", "releases") for p in sorted((at.lake.home / root).rglob("*"))
            if p.is_file() and p != at.lake.restricted]


def flip(path: Path, pick: random.Random) -> None:
    content = bytearray(path.read_bytes())
    where = pick.randrange(len(content))
    content[where] ^= 1 << pick.randrange(8)
    path.chmod(0o600)
    path.write_bytes(content)


def test_one_flipped_byte_in_any_file_is_seen_and_the_remedy_mends_it(at, tmp_path):
    assert verify(at)["findings"] == []
    place = tmp_path / "another disk"
    backup.backup(place, at)
    pick, files = random.Random(5), lasting(at)
    kinds = {p.relative_to(at.lake.home).parts[0] + p.suffix for p in files}
    assert {"landing.csv", "landing.json", "base.parquet", "base.json", "base.avro", "quarantine.parquet", "current.parquet", "current.json",
            "releases.parquet", "releases.json", "releases.duckdb"} <= kinds
    one_of_each = list({p.relative_to(at.lake.home).parts[0] + p.suffix: p for p in pick.sample(files, len(files))}.values())
    rest = pick.sample(files, len(files))
    for group in [[file] for file in one_of_each] + [rest[n::5] for n in range(5)]:
        group = [f for f in group if f.name == "manifest.json" or f.with_name("manifest.json") not in group]      # a damaged manifest hides its files until it is mended
        before = {file: file.read_bytes() for file in group}
        for file in group:
            flip(file, pick)
        findings = {f["path"]: f for f in verify(at)["findings"]}
        for file in group:
            path = str(file.relative_to(at.lake.home))
            assert "other bytes" in findings[path]["problem"], path
            assert f"restore '{place}' --only '{path}'" in findings[path]["remedy"], findings[path]["remedy"]
        restore_files(place, [str(file.relative_to(at.lake.home)) for file in group], None, at)
        assert {file: file.read_bytes() for file in group} == before
    assert verify(at)["findings"] == []


def test_a_lost_file_is_seen(at):
    """But facts beside a published file, current, and tickets that no pack gave out, which are made again."""
    files = [f for f in lasting(at) if f.name != "facts.json" and not {"current", "tickets"} & set(f.relative_to(at.lake.home).parts)]
    for file in {(p.relative_to(at.lake.home).parts[0], p.suffix, p.name.partition('-')[0]): p for p in files}.values():
        kept = file.rename(file.with_name(f".{file.name}.away"))
        assert str(file.relative_to(at.lake.home)) in {f["path"] for f in verify(at)["findings"]}, file
        kept.rename(file)
    assert verify(at)["findings"] == []


@pytest.mark.parametrize("root", ["landing", "base", "quarantine", "current", "releases/data", "releases/r"])
def test_what_can_be_made_anew_without_a_backup_is_made_anew_as_the_remedy_says(at, root):
    files = {"landing": "landing/*/*/*/2026-10-01/*/0001.csv", "base": f"base/{DATASET}/data/*2026-10-01*/rows.parquet", "quarantine": f"quarantine/{DATASET}/*2026-10-01*",
             "current": f"current/{DATASET}/*/rows.parquet", "releases/data": f"releases/data/{DATASET}/*/rows.parquet", "releases/r": "releases/r000006/lake.duckdb"}
    listed = {f["path"] for f in publication.kept(at.lake)[-1]["relations"][DATASET]["files"]}
    damaged = [p for p in sorted(at.lake.home.glob(files[root])) if root != "releases/data" or str(p.relative_to(at.lake.releases)) in listed][-1]
    sent, rows = damaged.read_bytes(), answers(at.lake.home)[0]
    flip(damaged, random.Random(3))
    finding = next(f for f in verify(at)["findings"] if f["path"] == str(damaged.relative_to(at.lake.home)))
    assert "no backup entered in the ledger holds it, or " in finding["remedy"]
    if root == "landing":
        assert "ask the department to send the same file again" in finding["remedy"]
        again = at.lake.home.parent / "again/640100.csv"
        again.parent.mkdir()
        again.write_bytes(sent)
        assert steps.submit(DATASET, [again], "police", "2026-10-01", desk=at)[0].duplicate
    elif root in ("base", "quarantine"):
        assert f"python -m pipelines rebuild {DATASET}" in finding["remedy"]
        rebuild(DATASET, at)
    elif root == "releases/r":
        assert "python -m pipelines rollback 6" in finding["remedy"]
        steps.rollback(6, at)
    else:
        assert "remove its folder" in finding["remedy"] and "python -m pipelines release" in finding["remedy"]
        shutil.rmtree(damaged.parent)
        steps.release(at)
    steps.release(at)
    maintain([DATASET], desk=at)
    left = [f["path"] for f in verify(at)["findings"]]
    assert left == ([str(damaged.relative_to(at.lake.home))] if root == "base" else [])      # kept releases stand on it; the newest state does not
    assert answers(at.lake.home)[0] == rows
    newest = segments.data_files(base.table(at.lake, at.plan(DATASET)), {base.state(at.lake, at.plan(DATASET)).snapshot})
    assert str(damaged) not in newest or root != "base"


def test_a_damaged_manifest_in_landing_is_told_in_words(at):
    manifest = next(at.lake.landing.glob("*/*/*/2026-10-01/*/manifest.json"))
    manifest.chmod(0o600)
    manifest.write_text("{")
    finding = next(f for f in verify(at)["findings"] if f["path"].endswith("2026-10-01/1-r1/manifest.json"))
    assert finding["remedy"] == "no backup entered in the ledger holds it"
    with pytest.raises(WrongUse, match="2026-10-01/1-r1 in landing is damaged. Run: python -m pipelines verify"):
        send(at, "2026-10-01", range(1, 3), sequence=1, revision=2)


def test_counts_that_differ_are_seen(at):
    file = next((at.lake.base / DATASET / "data").glob("*2026-10-01*/rows.parquet"))
    duckdb.sql(f"COPY (FROM '{file}' LIMIT 3) TO '{file}.new' (FORMAT parquet)")
    Path(f"{file}.new").rename(file)
    objects.replace(at.lake, at.ledger, [file])       # whoever changed it, changed its digest too
    assert any("3 rows" in f["problem"] and "the ledger" in f["problem"] for f in verify(at)["findings"])


def test_what_the_ledger_and_base_disagree_on_is_seen(at):
    batch = f"{DATASET}~police~640100~2026-10-01~1"
    at.ledger.update_batch(batch, 1, state="held")
    assert any("in base and not accepted" in f["problem"] for f in verify(at)["findings"])
    at.ledger.update_batch(batch, 1, state="accepted")
    shutil.copyfile(publication.folder(at.lake, 1) / "lake.duckdb", at.lake.database)
    assert [f["remedy"] for f in verify(at)["findings"]] == ["python -m pipelines rollback 6"]
    (at.lake.keys / "pseudonym.key").write_text("0" * 64)
    assert any("is key" in f["problem"] for f in verify(at)["findings"])


def answers(home: Path) -> list:
    with duckdb.connect(str(home / "lake.duckdb"), read_only=True) as con:
        return [con.execute(q).fetchall() for q in ("FROM population.residence ORDER BY ALL", "FROM governance.batches ORDER BY ALL",
                                                    "FROM governance.quarantine ORDER BY ALL", "FROM governance.releases ORDER BY ALL")]


def test_a_restored_lake_gives_the_same_verify_and_the_same_answers_and_goes_on(at, tmp_path, monkeypatch):
    place, home = tmp_path / "another disk", at.lake.home
    key = (at.lake.keys / "pseudonym.key").read_bytes()
    first = backup.backup(place, at)
    again = backup.backup(place, at)
    assert first["copied"] > 30 and again["copied"] <= 1 and again["files"] == first["files"]      # the copy of the ledger differs
    assert key.strip() not in b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
    before, seen, listed = answers(home), verify(at), json.loads((place / "backups/b000002.json").read_text())
    assert not [f["path"] for f in listed["files"] if f["path"].split("/")[0] in ("keys", "staging", "locks", "airflow")]
    forget_databases()
    shutil.rmtree(home)
    with pytest.raises(WrongUse, match="pseudonym key"):
        restore(place, home)
    with pytest.raises(WrongUse, match="being restored"):
        Lake.open(home)
    (home / "keys/pseudonym.key").write_bytes(key)
    monkeypatch.setattr(backup, "_bring", dying := Dying(backup._bring, 25))
    with pytest.raises(RuntimeError, match="dies"):
        restore(place, home)
    monkeypatch.setattr(backup, "_bring", dying.real)
    with pytest.raises(WrongUse, match="being restored"):
        Lake.open(home)
    assert restore(place, home)["files"] == again["files"]
    back = Desk(at.project, Lake.open(home))
    assert verify(back)["findings"] == seen["findings"] == [] and verify(back)["files"] == seen["files"]
    assert answers(home) == before
    assert {p: p.stat().st_mode & 0o777 for p in (home / "landing", home / "base", home / "keys")} == dict.fromkeys((home / "landing", home / "base", home / "keys"), 0o700)
    with pytest.raises(WrongUse, match="not empty"):
        restore(place, home)
    send(back, "2026-12-01", range(1, 9))
    assert steps.release(back)["release_id"] == publication.kept(back.lake)[-1]["release_id"]
    assert verify(back)["findings"] == []


class Dying:
    """Does what `real` does, a number of times."""

    def __init__(self, real, times: int):
        self.real, self.left = real, times

    def __call__(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("dies")
        return self.real(*arguments)


def test_a_backup_shows_one_moment_while_others_write(at, tmp_path, monkeypatch):
    """Between the links and the copies another batch is accepted, published, and old files go."""
    place, store, done = tmp_path / "place", backup._store, []

    def busy(*arguments):
        if not done:
            done.append(True)
            send(at, "2026-11-05", range(40, 45))
            steps.release(at)
            maintain([DATASET], "2026-11-01", at)
        return store(*arguments)

    monkeypatch.setattr(backup, "_store", busy)
    before = answers(at.lake.home)
    key = (at.lake.keys / "pseudonym.key").read_bytes()
    backup.backup(place, at)
    assert answers(at.lake.home) != before
    forget_databases()
    shutil.rmtree(at.lake.home)
    (at.lake.home / "keys").mkdir(parents=True)
    (at.lake.home / "keys/pseudonym.key").write_bytes(key)
    restore(place, at.lake.home)
    assert answers(at.lake.home) == before
    assert verify(Desk(at.project, Lake.open(at.lake.home)))["findings"] == []


def test_wrong_use_of_backups_is_told(at, tmp_path):
    place = tmp_path / "place"
    with pytest.raises(WrongUse, match="inside the lake"):
        backup.backup(at.lake.home / "backups", at)
    with pytest.raises(WrongUse, match="no backup"):
        restore(place, at.lake.home)
    backup.backup(place, at)
    with pytest.raises(WrongUse, match="tables hold that path"):
        restore(place, tmp_path / "elsewhere")
    with pytest.raises(WrongUse, match="No backup in"):
        restore_files(place, ["landing/none"], None, at)
    damaged = max((p for p in (place / "objects").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    flip(damaged, random.Random(1))
    listed = json.loads((place / "backups/b000001.json").read_text())["files"]
    path = next(f["path"] for f in listed if f["sha256"] == damaged.name)
    if path != backup.CATALOGUE:
        with pytest.raises(WrongUse, match="damaged"):
            restore_files(place, [path], None, at)
    assert at.ledger.rows(sa.select(tables.backups.c.name)) == [{"name": "b000001"}]
