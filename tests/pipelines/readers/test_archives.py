"""Archives: opened by content, members streamed under numbers, and whatever is broken, endless or hostile refused whole."""
from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.counts import Counter
from pipelines.readers import ReadRefused, archives
from tests.corpus.boxes import BOXES, encrypted_zip, gzipped, seven, tar, tar_gz, with_size, zipped
from tests.corpus.documents import dbf

CSV = "姓名,号码\n张三,1\n".encode()
TWO = {"b/二.csv": b"b\n2\n", "a/一.csv": CSV}
PACKED = BOXES | {"tar": tar}


class Landed:
    """Opens bytes as a landing file would be opened."""

    def __init__(self, root: Path) -> None:
        self.root, self.turn = root, 0

    def members(self, content: bytes, sha256: str | None = None) -> list[archives.Member]:
        self.turn += 1
        self.scratch = self.root / f"scratch{self.turn}"
        self.scratch.mkdir()
        path = self.root / f"{self.turn:04d}"
        path.write_bytes(content)
        counter = Counter()
        counter.update(content)
        return archives.members(7, path, sha256 or hashlib.sha256(content).hexdigest(), counter.result(), self.scratch)

    def refused(self, content: bytes, sha256: str | None = None) -> ReadRefused:
        with pytest.raises(ReadRefused) as refused:
            self.members(content, sha256)
        assert str(refused.value).startswith("File 7") and not any(word in str(refused.value) for word in ("一", "二", "csv", "passwd"))
        return refused.value


@pytest.fixture
def landed(tmp_path) -> Landed:
    return Landed(tmp_path)


def test_what_is_no_archive_is_itself(landed):
    [member] = landed.members(CSV)
    assert (member.file, member.number, member.path.read_bytes(), member.name) == (7, 0, CSV, "File 7")
    assert landed.refused(b"").code == "empty"
    assert landed.refused(CSV, "0" * 64).code == "changed"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "7z"])
def test_members_are_numbered_by_name_counted_and_hashed(landed, kind):
    for content in (PACKED[kind](TWO), PACKED[kind](dict(reversed(TWO.items())))):
        first, second = landed.members(content)
        assert (first.number, first.path.read_bytes(), second.number, second.path.read_bytes()) == (1, CSV, 2, b"b\n2\n")
        assert first.sha256 == hashlib.sha256(CSV).hexdigest() and (first.counts.lines, first.counts.bytes) == (2, len(CSV))
        assert second.name == "File 7 (member 2)"
        assert sorted(p.parent for p in landed.scratch.rglob("*")) == [landed.scratch] * 2
        assert not any(letter.isalpha() for p in landed.scratch.iterdir() for letter in p.stem.replace("tar", ""))


def test_gz_of_several_parts_is_one_member(landed):
    [member] = landed.members(gzip.compress(CSV) + gzip.compress(CSV))
    assert member.path.read_bytes() == CSV * 2


def test_names_twice_are_ordered_by_content(landed):
    out = io.BytesIO()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(out, "w") as made:
        made.writestr("a.csv", "2")
        made.writestr("a.csv", "1")
    assert len(landed.members(out.getvalue())) == 2


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "7z"])
def test_what_desktops_leave_behind_is_no_member(landed, kind):
    litter = {"__MACOSX/._a.csv": b"x", "x/.DS_Store": b"x", "Thumbs.db": b"x", "x/._a.csv": b"x"}
    [member] = landed.members(PACKED[kind](litter | {"x/a.csv": CSV}))
    assert member.path.read_bytes() == CSV
    assert landed.refused(PACKED[kind](litter)).code == "archive"


def test_office_packages_are_no_archives(landed):
    for name in ("xl/workbook.xml", "xl\\workbook.xml", "word/document.xml", "OFD.xml"):
        [member] = landed.members(zipped({name: b"<x/>"}))
        assert member.number == 0


def test_a_memo_file_goes_beside_its_table(landed):
    table = dbf(("a",), [("1",)])
    first, second = landed.members(zipped({"T.FPT": b"memo", "t.dbf": table, "u.fpt": b"none"}))
    assert first.path.read_bytes() == table and first.path.with_suffix(".fpt").read_bytes() == b"memo"
    assert second.path.read_bytes() == b"none"


@pytest.mark.parametrize("kind", list(PACKED))
def test_every_cut_is_refused(landed, kind):
    rows = "".join(f"{n},{n * n % 97}\n" for n in range(3000)).encode()
    whole = PACKED[kind]({"a.csv": rows})
    for kept in (len(whole) // 2, len(whole) - 600, len(whole) - 1100):
        if kind == "tar" and whole[:kept].endswith(bytes(512)):
            continue      # only padding behind the end mark is cut
        assert landed.refused(whole[:kept]).code == "archive"


def test_a_tar_that_ends_between_members_is_refused(landed):
    whole = tar({"a.csv": CSV, "b.csv": CSV})
    second = whole.index(b"b.csv")
    assert second % 512 == 0
    assert landed.refused(whole[:second]).code == "archive"
    assert landed.refused(whole[:second] + b"\xff" * 512 + whole[second + 512:]).code == "archive"


@pytest.mark.parametrize("kind", ["zip", "gz", "tar.gz", "7z"])
def test_a_changed_byte_of_the_content_is_noticed(landed, kind):
    whole = PACKED[kind]({"a.csv": CSV})
    at = whole.index(CSV[:4]) + 5 if CSV[:4] in whole else len(whole) // 2 if "gz" in kind else 45
    assert landed.refused(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:]).code == "archive"


@pytest.mark.parametrize("name", ["../一.csv", "a/../../一.csv", "/etc/一.csv", "C:\\一.csv", "..\\一.csv"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_that_lead_out_are_refused(landed, kind, name):
    assert landed.refused(PACKED[kind]({"a.csv": CSV, name: CSV})).code == "archive"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tar_are_refused(landed, kind):
    special = tarfile.TarInfo("b.csv")
    special.type, special.linkname = kind, "/etc/passwd"
    assert landed.refused(tar({"a.csv": CSV}, (special,))).code == "archive"


def test_links_in_zip_and_7z_are_refused(landed, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo("b.csv")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    assert landed.refused(out.getvalue()).code == "archive"
    import py7zr

    (tmp_path / "link").symlink_to("/etc/passwd")
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as made:
        made.write(tmp_path / "link", "b.csv")
    assert landed.refused(out.getvalue()).code == "archive"


REFUSED = {
    "zip in zip": zipped({"a.zip": zipped(TWO)}), "tar in zip": zipped({"a": tar(TWO)}), "gz in 7z": seven({"a": gzipped({"a": CSV})}),
    "7z in gz": gzipped({"a": seven(TWO)}), "tar in tar.gz": tar_gz({"a.tar": tar(TWO)}), "encrypted zip": encrypted_zip(zipped(TWO)),
    "encrypted 7z": seven(TWO, password="x"), "empty zip": zipped({}), "folders only": zipped({"a/": b""}), "broken zip": b"PK\x03\x04 broken",
    "broken 7z": b"7z\xbc\xaf\x27\x1c" + bytes(26), "broken gz": b"\x1f\x8b\x08" + bytes(20), "gz and more": gzip.compress(CSV) + b"more"}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_nested_encrypted_empty_and_broken_ones_are_refused(landed, content):
    assert landed.refused(content).code == "archive"


def test_an_empty_member_is_named_by_its_number(landed):
    refused = landed.refused(zipped({"一.csv": CSV, "二.csv": b""}))
    assert refused.code == "empty" and "member 2" in str(refused)


@pytest.mark.parametrize("kind", list(PACKED))
def test_bounds_hold_while_bytes_flow(landed, monkeypatch, kind):
    """The bounds are lowered: what is tested is that headers are not believed and nothing is unpacked far beyond."""
    monkeypatch.setattr(archives, "FREE_RATIO", 1 << 20)
    packed = PACKED[kind]({"a.csv": bytes(3 << 20)})
    if kind != "tar":
        assert "times its" in str(landed.refused(packed))
    if kind == "zip":
        assert landed.refused(with_size(packed, 100)).code == landed.refused(with_size(packed, 0xFFFFFFFE)).code == "archive"
    monkeypatch.setattr(archives, "MAX_UNPACKED", 2 << 20)
    monkeypatch.setattr(archives, "MAX_RATIO", 1 << 30)
    assert "unpacks to more than 2,097,152 bytes" in str(landed.refused(packed))
    assert sum(p.stat().st_size for p in landed.scratch.iterdir()) <= 2 << 20


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "7z"])
def test_too_many_members_are_refused(landed, monkeypatch, kind):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    assert len(landed.members(PACKED[kind]({f"{n}.csv": CSV for n in range(3)}))) == 3
    assert "more than 3 members" in str(landed.refused(PACKED[kind]({f"{n}.csv": CSV for n in range(4)})))
