"""The inbox: what is taken, when, and as what; what is left, why, and that it stops nothing else."""
from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import arrivals, copying, deliveries, folders, inbox, landing, sidecars, steps
from pipelines.receiving import left
from pipelines.settings import WrongUse
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

DATASET, DAY = "population.residence", "2026-11-01"
OLD = time.time() - 3600


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.setenv("LAKE_SETTLE_SECONDS", "60")
    text = RESIDENCE.replace("LOAD", "upsert").replace("{property: part_pattern, value: '(64\\d{4})'}]\n  - server: grid",
                                                       "{property: part_pattern, value: '(64\\d{4})'}, {property: date_pattern, value: '_(\\d{8})'}]\n  - server: grid")
    assert "date_pattern" in text
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=text))


def drop(at, *parts: str, n: int = 1, old: bool = True, source: str = "police") -> Path:
    """A file in the inbox, by default written an hour ago."""
    path = write_csv(at.lake.inbox / DATASET / source / Path(*parts), HEADER, [(resident_id(n), "赵一", "1990-01-01", "640104", "有效", "")])
    if old:
        age(path)
    return path


def age(path: Path) -> Path:
    """Let a file have been written an hour ago."""
    os.utime(path, (OLD, OLD))
    return path


def beside(path: Path, suffix: str, content: object = b"") -> Path:
    made = path.with_name(path.name + suffix)
    made.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return age(made) if suffix != ".done" else made


def receive(at, day: str | None = None) -> list[str]:
    return [key.replace(f"{DATASET}~", "") for key in steps.receive(DATASET, day, at)]


def troubles(at) -> dict[tuple[str, str, str], int]:
    return {(r["source"], r["batch_date"], r["code"]): r["files"] for r in left(at, DATASET)}


def there(at) -> set[str]:
    """Every visible or hidden thing left under the inbox."""
    home = at.lake.inbox / DATASET
    return {str(p.relative_to(home)) for p in home.rglob("*") if not p.is_dir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- settled or not

def test_a_file_that_changed_just_now_is_left_and_reported_without_fault(at):
    path = drop(at, DAY, "640100.csv", old=False)
    assert receive(at) == []
    assert troubles(at) == {("police", DAY, "unsettled"): 1} and path.exists()
    assert steps.report(DATASET, [], at) == []
    age(path)
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert troubles(at) == {} and there(at) == set()
    assert not path.parent.exists(), "an emptied dated folder goes too"


@pytest.mark.parametrize("mark", ["640100.csv.done", ".done", "640100.CSV.DONE"])
def test_a_mark_settles_at_once_what_was_written_before_it(at, mark):
    path = drop(at, DAY, "640100.csv", old=False)
    path.with_name(mark).touch()
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert there(at) == set()


def test_a_mark_says_nothing_about_what_is_written_after_it(at):
    path = drop(at, DAY, "640100.csv", old=False)
    path.with_name(".done").touch()
    time.sleep(0.02)
    path.write_bytes(path.read_bytes() + b"\r\n")
    assert receive(at) == [] and troubles(at) == {("police", DAY, "unsettled"): 1}


def test_a_mark_of_one_file_does_not_make_others_wait_for_theirs(at):
    beside(drop(at, DAY, "640100.csv", old=False), ".done")
    drop(at, DAY, "640200.csv")
    drop(at, DAY, "640300.csv", old=False)
    assert receive(at) == [f"police~640100~{DAY}~1~r1", f"police~640200~{DAY}~1~r1"]
    assert troubles(at) == {("police", DAY, "unsettled"): 1}


@pytest.mark.parametrize("stated", [lambda p: {"bytes": p.stat().st_size}, lambda p: {"sha256": digest(p).upper()}, lambda p: {"name": p.name, "bytes": p.stat().st_size, "sha256": digest(p)}])
def test_a_manifest_that_agrees_settles_at_once(at, stated):
    path = drop(at, DAY, "640100.csv", old=False)
    beside(path, ".manifest.json", stated(path))
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert there(at) == set()


@pytest.mark.parametrize("stated", [{"bytes": 9_999}, {"sha256": "0" * 64}])
def test_a_manifest_that_does_not_agree_yet_waits_and_then_is_a_trouble(at, stated):
    path = drop(at, DAY, "640100.csv", old=False)
    beside(path, ".manifest.json", stated)
    assert receive(at) == [] and troubles(at) == {("police", DAY, "unsettled"): 1}
    age(path)
    assert receive(at) == [] and troubles(at) == {("police", DAY, "sha256"): 1}
    assert path.exists() and landing.batches(at.lake, DATASET) == []
    assert "may be in transfer" in steps.report(DATASET, [], at)[0]
    beside(path, ".manifest.json", {"sha256": digest(path)})
    assert receive(at) == [f"police~640100~{DAY}~1~r1"] and troubles(at) == {}


@pytest.mark.parametrize("name", [".640100.csv", "~$640100.xlsx", "Thumbs.db", *(f"640100.csv{s}" for s in folders.PASSING), "640100.CSV.PART"])
def test_names_of_transfers_are_left_whatever_lies_beside_them(at, name):
    path = drop(at, DAY, name)
    beside(path, ".done")
    path.with_name(".done").touch()
    assert receive(at) == [] and path.exists()
    assert set(troubles(at)) <= {("police", DAY, "unsettled")}


def test_a_clock_ahead_of_ours_is_not_waited_for(at, monkeypatch):
    path = drop(at, DAY, "640100.csv", old=False)
    os.utime(path, (time.time() + 86_400,) * 2)
    monkeypatch.setenv("LAKE_SETTLE_SECONDS", "0")
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]


def test_a_wrong_number_of_seconds_is_refused(at, monkeypatch):
    drop(at, DAY, "640100.csv")
    monkeypatch.setenv("LAKE_SETTLE_SECONDS", "soon")
    with pytest.raises(WrongUse, match="LAKE_SETTLE_SECONDS"):
        receive(at)
    monkeypatch.setenv("LAKE_POLL_SECONDS", "-1")
    with pytest.raises(WrongUse, match="LAKE_POLL_SECONDS"):
        deliveries.poll_seconds()


# --- one part of one date is taken whole

def test_files_of_one_part_wait_for_each_other_and_other_parts_do_not(at):
    drop(at, DAY, "640100 a.csv")
    drop(at, DAY, "640100 b.csv", n=2, old=False)
    drop(at, DAY, "640200.csv", n=3)
    assert receive(at) == [f"police~640200~{DAY}~1~r1"]
    [row] = left(at, DATASET)
    assert row["code"] == "unsettled" and "file 2 of 3" in row["message"] and "1 others of the same batch wait" in row["message"]
    age(at.lake.inbox / DATASET / "police" / DAY / "640100 b.csv")
    assert receive(at, DAY)[0] == f"police~640100~{DAY}~1~r1"
    assert landing.batches(at.lake, DATASET)[0].files[1].number == 2


def test_a_manifest_keeps_its_files_until_all_it_names_have_come(at):
    first = drop(at, DAY, "640100 a.csv")
    manifest = first.with_name("manifest.json")
    manifest.write_text(json.dumps({"files": [{"name": "640100 a.csv"}, {"name": "640100 b.csv"}, {"name": "640900.csv"}]}))
    assert receive(at) == [] and troubles(at) == {("police", DAY, "unsettled"): 1}
    drop(at, DAY, "640100 b.csv", n=2)
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert there(at) == set(), "a manifest goes with the last file that is there"
    assert (landing.batches(at.lake, DATASET)[0].folder / "submitted-manifest.json").exists()


# --- what is stated

def test_rows_travel_into_landing_with_the_evidence(at):
    path = drop(at, DAY, "640100.csv")
    beside(path, ".sha256", f"{digest(path)} *640100.csv\n".encode())
    path.with_name("manifest.json").write_text(json.dumps({"files": [{"name": "640100.csv", "rows": 1, "密级": "内部"}]}))
    receive(at)
    [got] = landing.batches(at.lake, DATASET)
    assert got.files[0].rows == 1
    assert sorted(p.name for p in got.folder.iterdir()) == ["0001.csv", "0001.sha256", "manifest.json", "submitted-manifest.json"]
    assert there(at) == set()


@pytest.mark.parametrize("level", ["秘密", "机密", "绝密", "SECRET", "公开 或 秘密", ""])
@pytest.mark.parametrize("key", ["密级", "secrecy"])
def test_a_secret_file_never_enters(at, level, key, monkeypatch):
    path = drop(at, DAY, "640100.csv", old=False)
    beside(path, ".manifest.json", {key: level, "sha256": "0" * 64})
    opened = []
    monkeypatch.setattr(copying, "opened_file", lambda *a: opened.append(a))
    monkeypatch.setattr(deliveries, "opened_file", lambda *a: opened.append(a))
    assert receive(at) == [] and troubles(at) == {("police", DAY, "secrecy"): 1}
    assert opened == [] and path.exists() and landing.batches(at.lake, DATASET) == []
    assert not level or level not in steps.report(DATASET, [], at)[0]


@pytest.mark.parametrize("level", [*sidecars.OPEN_LEVELS, " Internal "])
def test_open_levels_enter(at, level):
    beside(drop(at, DAY, "640100.csv"), ".manifest.json", {"密级": level})
    assert len(receive(at)) == 1


@pytest.mark.parametrize("content", [
    b"{", b"[]", b'{"files": []}', b'{"files": [{"rows": 1}]}', b'{"rows": 1, "rows": 2}', b'{"rows": NaN}', b'{"rows": -1}', b'{"rows": true}',
    b'{"rows": 1.0}', b'{"bytes": "1"}', b'{"sha256": "abc"}', b'{"batch_date": "soon"}', b'{"part": "../x"}', b'{"correct": "yes"}',
    b'{"owner": "\xe5\xbc\xa0\xe4\xb8\x89"}', b'{"name": "other.csv"}', b'{"files": [{"name": "other.csv"}]}', b"\xff", b"[" * 100_000,
    b'{"rows": ' + b"9" * 5_000 + b"}", b" " * (1 << 20) + b"{} ",
], ids=range(21))
def test_a_manifest_that_is_not_strict_stops_its_file_only(at, content):
    beside(drop(at, DAY, "640100.csv"), ".manifest.json", content)
    drop(at, DAY, "640200.csv")
    assert receive(at) == [f"police~640200~{DAY}~1~r1"]
    assert troubles(at) == {("police", DAY, "manifest"): 1}
    assert "张三" not in steps.report(DATASET, [], at)[0]


@pytest.mark.parametrize("content", [b"", b"x", b"0" * 63, b"0" * 64 + b"\n" + b"1" * 64])
def test_a_checksum_that_is_none_stops_its_file(at, content):
    beside(drop(at, DAY, "640100.csv"), ".sha256", content)
    assert receive(at) == [] and troubles(at) == {("police", DAY, "manifest"): 1}


def test_statements_that_contradict_each_other_stop_the_file(at):
    path = drop(at, DAY, "640100.csv")
    beside(path, ".sha256", digest(path).encode())
    beside(path, ".manifest.json", {"sha256": "0" * 64})
    assert receive(at) == [] and troubles(at) == {("police", DAY, "manifest"): 1}


def test_a_manifest_that_is_being_written_is_no_trouble_yet(at):
    path = drop(at, DAY, "640100.csv")
    path.with_name("manifest.json").write_bytes(b'{"files": [')
    assert receive(at) == [] and troubles(at) == {("police", DAY, "unsettled"): 1}


# --- batch date

def test_the_date_comes_from_the_name_or_the_manifest(at):
    drop(at, "640100_20261101.csv")
    beside(drop(at, "640200.csv", n=2), ".manifest.json", {"batch_date": "2026-12-01"})
    assert receive(at) == ["police~640100~2026-11-01~1~r1", "police~640200~2026-12-01~1~r1"]
    assert there(at) == set() and (at.lake.inbox / DATASET / "police").is_dir()


def test_a_compact_folder_name_is_a_date(at):
    drop(at, "20261101", "640100.csv")
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]


@pytest.mark.parametrize("parts, stated", [
    (("640100.csv",), None), (("640100_20261340.csv",), None), (("640100_20261101.csv",), {"batch_date": "2026-12-01"}),
    ((DAY, "640100.csv"), {"batch_date": "2026-12-01"})])
def test_no_date_or_two_dates_are_a_trouble(at, parts, stated):
    path = drop(at, *parts)
    if stated:
        beside(path, ".manifest.json", stated)
    assert receive(at) == [] and {code for _, _, code in troubles(at)} == {"batch_date"}


@pytest.mark.parametrize("name", ["2026-13-01", "November 张三", "2026-W44-1", "x\n<b>", "20261"])
def test_a_folder_that_is_no_date_is_a_trouble_of_its_source_only(at, name):
    drop(at, name, "640100.csv")
    drop(at, DAY, "640200.csv")
    assert receive(at) == [f"police~640200~{DAY}~1~r1"]
    assert troubles(at) == {("police", "", "batch_date"): 1}
    assert name not in steps.report(DATASET, [], at)[0]


def test_a_name_that_tells_no_part_is_a_trouble_and_a_stated_part_helps(at):
    path = drop(at, DAY, "all.csv")
    assert receive(at) == [] and troubles(at) == {("police", DAY, "part"): 1}
    beside(path, ".manifest.json", {"part": "north"})
    assert receive(at) == [f"police~north~{DAY}~1~r1"]


# --- corrections and repetitions

def test_the_same_bytes_again_are_the_same_batch(at):
    for name in ("640100.csv", "640100 again.csv"):
        drop(at, DAY, name)
        assert receive(at) == [f"police~640100~{DAY}~1~r1"]
        assert there(at) == set()
    assert len(landing.batches(at.lake, DATASET)) == 1


def test_other_bytes_are_the_next_sequence(at):
    drop(at, DAY, "640100.csv")
    receive(at)
    drop(at, DAY, "640100.csv", n=2)
    assert receive(at) == [f"police~640100~{DAY}~1~r1", f"police~640100~{DAY}~2~r1"]


@pytest.mark.parametrize("how", ["更正", "correction", "Correction", "manifest"])
def test_a_correction_replaces_the_last_submission_and_keeps_its_bytes(at, how):
    drop(at, DAY, "640100.csv")
    receive(at)
    path = drop(at, DAY, *(() if how == "manifest" else (how,)), "640100.csv", n=2)
    if how == "manifest":
        beside(path, ".manifest.json", {"correct": True})
    assert receive(at) == [f"police~640100~{DAY}~1~r2"]
    assert [(m.sequence, m.revision, m.superseded) for m in landing.batches(at.lake, DATASET)] == [(1, 1, True), (1, 2, False)]
    assert there(at) == set() and not (at.lake.inbox / DATASET / "police" / DAY).exists()


def test_a_correction_comes_after_what_it_corrects_and_waits_for_it(at):
    drop(at, DAY, "更正", "640100.csv", n=2)
    assert receive(at) == [] and troubles(at) == {("police", DAY, "correction"): 1}
    drop(at, DAY, "640100.csv")
    assert receive(at) == [f"police~640100~{DAY}~1~r2"] and troubles(at) == {}


def test_a_corrected_count_of_rows_is_a_correction(at):
    for rows in (2, 1):
        beside(drop(at, DAY, "640100.csv"), ".manifest.json", {"rows": rows})
        keys = receive(at)
    assert keys == [f"police~640100~{DAY}~1~r2"]


# --- hostile and unlucky things

def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [_link, os.mkfifo, Path.mkdir, lambda p: p.symlink_to(p.parent.parent)], ids=["link", "pipe", "folder", "link to a folder"])
def test_what_is_no_file_is_a_trouble_and_the_files_beside_it_go_on(at, make):
    drop(at, DAY, "640200.csv")
    make(at.lake.inbox / DATASET / "police" / DAY / "640100.csv")
    done = []
    work = threading.Thread(target=lambda: done.append(receive(at)), daemon=True)
    work.start()
    work.join(30)
    assert done == [[f"police~640200~{DAY}~1~r1"]], "a pipe is not waited for"
    assert troubles(at) == {("police", DAY, "link"): 1}


@pytest.mark.parametrize("where", ["dataset", "source", "date", "correction"])
def test_a_linked_folder_is_not_entered(at, tmp_path, where):
    outside = tmp_path / "outside"
    write_csv(outside / "640100.csv", HEADER, [])
    write_csv(outside / DAY / "640100.csv", HEADER, [])
    drop(at, DAY, "640200.csv", source="grid")
    home = at.lake.inbox / DATASET
    place = {"dataset": home, "source": home / "police", "date": home / "police" / DAY, "correction": home / "police" / DAY / "更正"}[where]
    if where == "dataset":
        home.rename(tmp_path / "moved")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside)
    assert receive(at) == ([] if where == "dataset" else [f"grid~640200~{DAY}~1~r1"])
    [(_, day, code)] = troubles(at)
    assert code == "link" and day == (DAY if where in ("date", "correction") else "")
    assert (outside / "640100.csv").exists()


def test_a_folder_swapped_for_a_link_after_the_look_gives_no_other_file(at, tmp_path, monkeypatch):
    drop(at, DAY, "640100.csv")
    outside = write_csv(tmp_path / "outside" / "640100.csv", HEADER, []).parent
    look = inbox.look

    def look_then_swap(*a):
        found = look(*a)
        folder = at.lake.inbox / DATASET / "police" / DAY
        folder.rename(tmp_path / "real")
        folder.symlink_to(outside)
        return found

    monkeypatch.setattr(inbox, "look", look_then_swap)
    assert receive(at) == [] and troubles(at) == {("police", DAY, "unsettled"): 1}
    assert (outside / "640100.csv").exists() and landing.batches(at.lake, DATASET) == []


@pytest.mark.parametrize("name", ["张三13912345678_640100.csv", "640100\n.csv", "<script>alert(1)_640100.csv", "640100'; DROP TABLE ledger_batches;--.csv",
                                  "640100\u202egpj.csv", "640100" + "长" * 79 + "x.csv", os.fsdecode(b"640100\xff\xfe.csv"), "-rf 640100", "640100.csv ", "$(id)640100"])
def test_hostile_names_are_data_and_stand_in_no_ledger_and_no_message(at, name, caplog):
    drop(at, DAY, name)
    stuck = drop(at, DAY, name.replace("640100", "640200"), n=2)
    beside(stuck, ".sha256", b"none")
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert troubles(at) == {("police", DAY, "manifest"): 1} and stuck.exists()
    with sqlite3.connect(at.lake.catalog) as con:
        dump = "\n".join(con.iterdump())
    words = [w for w in ("张三", "13912345678", "script", "DROP TABLE ledger_batches;--", "\u202e", "长", "\udcff", "-rf", "$(id)") if w in name]
    assert not [w for w in (*words, name) if w in dump + caplog.text]
    assert landing.batches(at.lake, DATASET)[0].files[0].name == os.fsencode(name).decode("utf-8", "backslashreplace")


def test_a_file_that_cannot_be_read_stops_only_its_part(at, monkeypatch):
    path = drop(at, DAY, "640100.csv")
    drop(at, DAY, "640200.csv")
    real = os.open

    def refuse(what, *a, **k):
        if str(what).endswith("640100.csv"):
            raise PermissionError(13, "Permission denied", str(what))
        return real(what, *a, **k)

    monkeypatch.setattr(os, "open", refuse)
    assert receive(at) == [f"police~640200~{DAY}~1~r1"]
    assert troubles(at) == {("police", DAY, "unreadable"): 1} and path.exists()
    assert "640100.csv" not in steps.report(DATASET, [], at)[0]


def test_a_folder_that_cannot_be_read_is_a_trouble_of_its_own(at, monkeypatch):
    drop(at, DAY, "640100.csv")
    drop(at, DAY, "640100.csv", source="grid")
    real = os.open

    def refuse(what, *a, **k):
        if what == DAY and os.readlink(f"/proc/self/fd/{k['dir_fd']}").endswith("police"):
            raise PermissionError(13, "Permission denied", str(what))
        return real(what, *a, **k)

    monkeypatch.setattr(os, "open", refuse)
    assert receive(at) == [f"grid~640100~{DAY}~1~r1"]
    assert troubles(at) == {("police", DAY, "unreadable"): 1}


def test_a_full_disk_of_landing_is_not_blamed_on_the_file(at, monkeypatch):
    path = drop(at, DAY, "640100.csv")
    monkeypatch.setattr(copying.os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        receive(at)
    assert path.exists() and troubles(at) == {}


@pytest.mark.parametrize("anew", ["in place", "renamed over"])
def test_what_is_sent_again_during_the_copy_is_not_removed(at, monkeypatch, anew):
    path = drop(at, DAY, "640100.csv")
    beside(path, ".done")
    receive_files = landing.receive

    def send_again(*a, **k):
        done = receive_files(*a, **k)
        if not (at.lake.home / "sent").exists():
            (at.lake.home / "sent").touch()
            fresh = drop(at, "elsewhere.csv", n=2, old=False)
            os.replace(fresh, path) if anew == "renamed over" else path.write_bytes(fresh.read_bytes()) and fresh.unlink()
        return done

    monkeypatch.setattr(landing, "receive", send_again)
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert resident_id(2).encode() in path.read_bytes()
    assert path.with_name("640100.csv.done").exists(), "the mark may be of the new file"
    age(path)
    assert len(receive(at)) == 2 and there(at) == set()


@pytest.mark.parametrize("when", ["mkdir", "rename", "rmtree"])
def test_a_death_while_files_are_taken_out_is_mended_by_the_next_receive(at, monkeypatch, when):
    for n, name in enumerate(("640100 a.csv", "640100 b.csv"), 1):
        drop(at, DAY, name, n=n)
    (at.lake.inbox / DATASET / "police" / DAY / "manifest.json").write_text(json.dumps({"files": [{"name": "640100 a.csv", "rows": 1}, {"name": "640100 b.csv"}]}))

    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if when == "rename":
            patch.setattr(inbox, "_spent", die)
        elif when == "mkdir":
            patch.setattr(inbox, "_set_aside", die)
        else:
            patch.setattr(inbox.shutil, "rmtree", lambda path, **k: die() if ".taken-" in str(path) else None)
        with pytest.raises(Killed):
            receive(at)
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert there(at) == set() and len(landing.batches(at.lake, DATASET)) == 1


def test_files_that_cannot_be_removed_are_all_there_again_and_told(at, monkeypatch):
    path = drop(at, DAY, "640100.csv")
    beside(path, ".done")
    real = os.rename

    def refuse(a, b):
        if str(a).endswith(".done"):
            raise PermissionError(1, "Operation not permitted")
        real(a, b)

    monkeypatch.setattr(inbox.os, "rename", refuse)
    assert receive(at) == [f"police~640100~{DAY}~1~r1"]
    assert path.exists() and troubles(at) == {("police", DAY, "unreadable"): 1}
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".ta")]


def test_strangers_beside_the_sources_are_told(at):
    drop(at, DAY, "x.csv", source="nobody 张三")
    (at.lake.inbox / DATASET / "x.csv").touch()
    drop(at, DAY, "640100.csv")
    assert len(receive(at)) == 1
    assert troubles(at) == {("", "", "source"): 2} and "张三" not in steps.report(DATASET, [], at)[0]


def test_one_date_is_taken_and_the_troubles_of_others_stay_known(at):
    drop(at, DAY, "640100.csv")
    later = drop(at, "2026-12-01", "640100.csv", n=2)
    beside(later, ".manifest.json", {"bytes": later.stat().st_size, "sha256": "0" * 64})
    assert receive(at) == [f"police~640100~{DAY}~1~r1"] and troubles(at) == {("police", "2026-12-01", "sha256"): 1}
    assert receive(at, DAY) == [f"police~640100~{DAY}~1~r1"] and troubles(at) == {("police", "2026-12-01", "sha256"): 1}
    assert steps.report(DATASET, [], at, DAY) == [] and len(steps.report(DATASET, [], at, "2026-12-01")) == 1
    later.unlink()
    assert receive(at, DAY) and troubles(at) == {}


# --- noticing arrivals

def test_each_change_is_told_once(at):
    watch = arrivals.Watch()

    def look():
        return watch.changes(at.lake, at.project)

    assert look() is None
    path = drop(at, DAY, "640100.csv", old=False)
    assert look() is None, "an incomplete file is no arrival"
    beside(path, ".done")
    assert look() == {"arrived": [[DATASET, DAY]], "troubled": []}
    assert look() is None
    drop(at, "2026-12-01", "640100.csv")
    _link(at.lake.inbox / DATASET / "police" / DAY / "x")
    assert look() == {"arrived": [[DATASET, "2026-12-01"]], "troubled": [[DATASET, DAY]]}
    assert look() is None
    receive(at)
    assert look() is None, "what was taken is no change"
    (at.lake.inbox / DATASET / "police" / DAY / "x").unlink()
    assert look() == {"arrived": [], "troubled": [[DATASET, DAY]]}, "a trouble that is gone is looked at once more"
    drop(at, DAY, "640100.csv")
    assert look() == {"arrived": [[DATASET, DAY]], "troubled": []}


def test_a_folder_or_a_contract_that_cannot_be_used_hides_no_arrival(at):
    (at.lake.inbox / "zz 张三.x").mkdir()
    (at.lake.inbox / "a.b").mkdir()
    (at.project.contracts / "a").mkdir()
    (at.project.contracts / "a" / "b.yaml").write_text("id: [")
    drop(at, DAY, "640100.csv")
    assert arrivals.Watch().changes(at.lake, at.project) == {"arrived": [[DATASET, DAY]], "troubled": []}


def test_the_trigger_polls_and_survives_a_look_that_fails(at, monkeypatch):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    monkeypatch.setenv("LAKE_POLL_SECONDS", "0")
    looks = iter([OSError(5, "张三.csv"), None])
    real = arrivals.Watch.changes

    def sometimes(self, *a):
        if error := next(looks, None):
            raise error
        return real(self, *a)

    monkeypatch.setattr(arrivals.Watch, "changes", sometimes)
    drop(at, DAY, "640100.csv")

    async def first():
        async for event in arrivals.Arrivals().run():
            return event.payload

    assert asyncio.run(asyncio.wait_for(first(), 30)) == {"arrived": [[DATASET, DAY]], "troubled": []}
    assert arrivals.Arrivals().serialize() == ("pipelines.arrivals.Arrivals", {})


@pytest.mark.parametrize("taken, rest", [(0.001, 1), (2, 18)])
def test_the_trigger_looks_every_second_unless_looking_takes_long(monkeypatch, taken, rest):
    clock, slept = itertools.count(step=taken), []

    async def sleep(seconds):
        slept.append(seconds)
        raise asyncio.CancelledError

    async def look(*_):
        return None

    async def first():
        async for _ in arrivals.Arrivals().run():
            pass

    monkeypatch.setattr(arrivals, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(arrivals, "asyncio", SimpleNamespace(to_thread=look, sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(first())
    assert slept == [pytest.approx(rest)]


def test_a_notice_takes_nothing(at):
    drop(at, DAY, "640100.csv")
    drop(at, DAY, "no part.csv")
    found = steps.notice(DATASET, at)
    assert found["dates"] == [DAY] and [day for day, _ in found["left"]] == [DAY]
    assert len(there(at)) == 2
