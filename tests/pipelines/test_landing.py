"""Landing: what was sent stays byte for byte, once, under an address that does not depend on the order of arrival."""
from __future__ import annotations

import hashlib
import json
import os
import random
from datetime import date
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import copying, landing
from pipelines.contract import Source
from pipelines.copying import NotTaken, Stated
from pipelines.counts import Counter
from pipelines.settings import Lake, WrongUse

DATASET = SimpleNamespace(id="population.person")
DAY = "2026-11-01"
POLICE = Source("police", 0, "公安厅", "11640000MB1Y00011H", "csv", part_pattern=r"_(64\d{4})")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(tmp_path / "lake")


@pytest.fixture
def send(lake: Lake, tmp_path: Path):
    def _send(*contents: bytes, name: str = "人口_640100.csv", **options):
        folder = tmp_path / f"out{random.random()}"
        folder.mkdir()
        files = []
        for number, content in enumerate(contents):
            files.append(folder / (f"{number}{name}" if number else name))
            files[-1].write_bytes(content)
        return landing.receive(lake, DATASET, POLICE, files, DAY, **options)

    return _send


def places(lake: Lake) -> list[tuple[int, int, bool]]:
    return [(m.sequence, m.revision, m.superseded) for m in landing.batches(lake, DATASET.id)]


def test_bytes_and_manifest_are_kept(lake, send):
    content = "姓名\r\n张三\r\n\r\n\"李\x00四\"".encode("gb18030")
    [got] = send(content, name="张三丰_640100.CSV")
    assert (got.batch_id, got.revision, got.duplicate) == ("population.person~police~640100~2026-11-01~1", 1, False)
    assert got.folder == landing.folder(lake, got.batch_id, got.revision)
    assert sorted(p.name for p in got.folder.iterdir()) == ["0001.csv", "manifest.json"]
    assert (got.folder / "0001.csv").read_bytes() == content
    manifest = landing.read_manifest(got.folder)
    [file] = manifest.files
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert (file.name, manifest.department, manifest.batch_id) == ("张三丰_640100.CSV", "公安厅", got.batch_id)
    assert (file.counts.lines, file.counts.blank, file.counts.crlf, file.counts.quotes, file.counts.nuls) == (4, 1, 3, 2, 1)
    assert "张三丰" not in repr(manifest) and "张三丰" not in repr(got)
    assert list((lake.landing / ".incoming").iterdir()) == []


def test_same_bytes_are_the_same_batch(lake, send):
    [first] = send(b"a\n1\n")
    [again] = send(b"a\n1\n", name="other_640100.csv")
    assert again.duplicate and (again.batch_id, again.revision, again.folder) == (first.batch_id, 1, first.folder)
    [other] = send(b"a\n2\n")
    assert other.batch_id.endswith("~2") and not other.duplicate
    assert places(lake) == [(1, 1, False), (2, 1, False)]


def test_every_form_keeps_its_extension(send):
    assert [p.name for p in send(b"x", name="a_640100.PARQUET")[0].folder.iterdir() if p.stem == "0001"] == ["0001.parquet"]
    assert {".json", ".jsonl", ".ndjson", ".xml", ".dbf", ".zip", ".gz", ".tgz", ".tar", ".7z", ".xlsb", ".prn"} <= set(copying.KEPT_EXTENSIONS)


def test_what_the_sender_stated_is_kept_and_is_no_part_of_the_identity(lake, tmp_path):
    file = tmp_path / "a_640100.csv"
    file.write_bytes(b"a\n1\n")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    stated = {file: Stated(rows=1, bytes=4, sha256=digest, kept=((".sha256", digest.encode()),))}
    [got] = landing.receive(lake, DATASET, POLICE, [file], DAY, stated=stated, manifest=b"{}")
    assert sorted(p.name for p in got.folder.iterdir()) == ["0001.csv", "0001.sha256", "manifest.json", "submitted-manifest.json"]
    assert (got.folder / "0001.sha256").read_bytes() == digest.encode()
    assert landing.read_manifest(got.folder).files[0].rows == 1
    assert landing.receive(lake, DATASET, POLICE, [file], DAY)[0].duplicate
    with pytest.raises(NotTaken) as refused:
        landing.receive(lake, DATASET, POLICE, [file], DAY, stated={file: Stated(sha256="0" * 64)})
    assert refused.value.code == "sha256"


def test_another_number_of_rows_for_the_same_bytes_is_a_correction(lake, tmp_path):
    file = tmp_path / "a_640100.csv"
    file.write_bytes(b"a\n1\n")
    got = [landing.receive(lake, DATASET, POLICE, [file], DAY, stated={file: Stated(rows=n)})[0] for n in (2, 2, 1, None, 1)]
    assert [(r.revision, r.duplicate) for r in got] == [(1, False), (1, True), (2, False), (2, True), (2, True)]


def test_a_manifest_of_an_older_lake_is_read(lake, send):
    [got] = send(b"a\n1\n")
    path = got.folder / "manifest.json"
    old = json.loads(path.read_text("utf-8"))
    del old["files"][0]["rows"]
    path.write_text(json.dumps(old), "utf-8")
    assert landing.read_manifest(got.folder).files[0].rows is None


def test_several_files_are_identified_by_their_content_not_their_names(send):
    [first] = send(b"a\n1\n", b"a\n2\n")
    [again] = send(b"a\n2\n", b"a\n1\n")
    assert again.duplicate and first.files == 2


def test_correction_takes_the_next_revision_and_may_go_back_to_earlier_bytes(lake, send):
    send(b"a\n1\n")
    [second] = send(b"a\n2\n", correct=True)
    [same] = send(b"a\n2\n", correct=True)
    [third] = send(b"a\n1\n", correct=True)
    assert (second.revision, same.duplicate, third.revision) == (2, True, 3)
    assert places(lake) == [(1, 1, True), (1, 2, True), (1, 3, False)]


def test_explicit_places_do_not_depend_on_the_order_of_arrival(tmp_path):
    sent = [(1, 1, b"a\n1\n"), (1, 2, b"a\n2\n"), (2, 1, b"a\n1\n")]
    outcomes = set()
    for turn, order in enumerate(permutations(sent)):
        lake = Lake.open(tmp_path / f"lake{turn}")
        file = tmp_path / "f_640100.csv"
        for sequence, revision, content in order:
            file.write_bytes(content)
            [got] = landing.receive(lake, DATASET, POLICE, [file], DAY, sequence=sequence, revision=revision)
            assert not got.duplicate
        outcomes.add(tuple((m.sequence, m.revision, m.superseded, m.content) for m in landing.batches(lake, DATASET.id)))
    assert len(outcomes) == 1


def test_a_late_lower_revision_is_stored_and_marked(send):
    send(b"a\n2\n", sequence=1, revision=2)
    [late] = send(b"a\n1\n", sequence=1, revision=1)
    assert late.superseded and not late.duplicate


@pytest.mark.parametrize("options, says", [
    ({"sequence": 1}, "1-r1, 2-r1. Sequence 1 was received with other bytes"),
    ({"sequence": 1, "revision": 1}, "1-r1, 2-r1. Sequence 1 revision 1 was received with other bytes"),
    ({"revision": 2}, "Say which sequence"),
    ({"sequence": 7, "correct": True}, "no sequence 7 to correct"),
    ({"sequence": 0}, "start at 1"),
    ({"correct": True, "revision": 2}, "by itself"),
    ({"part": "../x"}, "part may hold"),
    ({"part": ".."}, "part may hold"),
    ({"name": "张三.csv"}, "Parts in landing: 640100."),
])
def test_what_cannot_be_placed_is_refused_and_says_what_exists(lake, send, options, says):
    send(b"a\n1\n"), send(b"a\n2\n")
    with pytest.raises(WrongUse) as refused:
        send(b"a\n3\n", **options)
    assert says in str(refused.value) and "张三" not in str(refused.value)
    assert places(lake) == [(1, 1, False), (2, 1, False)]


def test_one_call_may_bring_several_parts(lake, tmp_path):
    for part in ("640200", "640100"):
        (tmp_path / f"x_{part}.txt").write_bytes(part.encode())
    got = landing.receive(lake, DATASET, POLICE, sorted(tmp_path.glob("x_*")), date(2026, 11, 1))
    assert [r.part for r in got] == ["640100", "640200"]
    [forced] = landing.receive(lake, DATASET, POLICE, [tmp_path / "x_640200.txt"], DAY, part="north")
    assert forced.part == "north"


def test_hostile_names_keep_only_a_safe_extension(lake, tmp_path):
    names = ["a_640100.csv;rm -rf ~", "b_640100.SH", "c_640100.XLSX", "-d_640100", "e_640100\n.csv"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    os_name = os.fsdecode(b"f_640100\xff.csv")
    (tmp_path / os_name).write_bytes(b"f")
    [got] = landing.receive(lake, DATASET, POLICE, [tmp_path / n for n in [*names, os_name]], DAY)
    stored = {p.suffix for p in got.folder.iterdir()}
    assert stored == {".bin", ".xlsx", ".csv", ".json"}
    assert {f.name for f in landing.read_manifest(got.folder).files} == {*names, "f_640100\\xff.csv"}


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "missing"])
def test_only_regular_files_are_taken(lake, tmp_path, kind):
    target = tmp_path / "real"
    target.write_bytes(b"secret")
    path = tmp_path / "张三_640100.csv"
    {"link": lambda: path.symlink_to(target), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "missing": lambda: None}[kind]()
    with pytest.raises(WrongUse, match="File 1 of 1") as refused:
        landing.receive(lake, DATASET, POLICE, [path], DAY)
    assert "张三" not in str(refused.value)
    assert landing.batches(lake, DATASET.id) == [] and list((lake.landing / ".incoming").iterdir()) == []


def test_a_file_that_is_still_written_is_refused(lake, tmp_path, monkeypatch):
    path = tmp_path / "a_640100.csv"
    path.write_bytes(b"a\n1\n")

    class Growing(Counter):
        def update(self, chunk):
            super().update(chunk)
            with open(path, "ab") as more:
                more.write(b"2\n" if path.stat().st_size < 20 else b"")

    monkeypatch.setattr(copying, "Counter", Growing)
    with pytest.raises(WrongUse, match="changed while"):
        landing.receive(lake, DATASET, POLICE, [path], DAY)


def test_a_killed_copy_leaves_no_batch(lake, send, monkeypatch):
    monkeypatch.setattr(landing.os, "rename", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        send(b"a\n1\n")
    monkeypatch.undo()
    assert landing.batches(lake, DATASET.id) == []
    assert not send(b"a\n1\n")[0].duplicate


def test_missing_manifest_names_what_lies_beside_it(lake, send):
    [got] = send(b"a\n1\n")
    with pytest.raises(WrongUse, match="Beside it: 1-r1"):
        landing.read_manifest(landing.folder(lake, got.batch_id, 9))
    with pytest.raises(WrongUse):
        landing.folder(lake, "population.person~police~..~2026-11-01~1", 1)


def test_the_manifest_is_plain_json(send):
    [got] = send(b"a\n1\n")
    assert {"dataset", "source", "part", "batch_date", "sequence", "revision", "received_at", "files"} <= set(
        json.loads((got.folder / "manifest.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("seed", range(60))
def test_counts_do_not_depend_on_the_chunks(seed):
    """Against a count over the whole bytes; chunks cut CRLFs, blank lines and characters."""
    rng = random.Random(seed)
    data = b"".join(rng.choice([b"\n", b"\r", b"\r\n", b"ab", b'"', b"\0", b"\x1a"]) for _ in range(rng.randint(0, 30)))
    counter = Counter()
    at = 0
    while at < len(data):
        step = rng.randint(1, 4)
        counter.update(data[at:at + step])
        at += step
    got = counter.result()
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    ended = lines.pop() == b"" and bool(data)
    whole = lines if ended or not data else [*lines, b"rest"]
    assert (got.bytes, got.lines, got.blank) == (len(data), len(whole), lines.count(b""))
    assert (got.lf, got.cr, got.crlf) == (data.count(b"\n"), data.count(b"\r"), data.count(b"\r\n"))
    assert (got.quotes, got.nuls, got.ended) == (data.count(b'"'), data.count(b"\0"), ended)
    assert got.substitute == (data.endswith(b"\x1a") and data[-2:-1] in (b"", b"\n", b"\r"))
    assert got.longest >= max(map(len, data.replace(b"\r", b"\n").split(b"\n")))
