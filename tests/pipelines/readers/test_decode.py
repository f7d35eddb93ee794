"""Bytes to text: the encoding of a file, GB 18030-2022, damage that costs one line only."""
from __future__ import annotations

import random

import pytest

from pipelines.readers.marks import GB18030_2022

NAMES = "张三,银川市\n李四,石嘴山\n王五,吴忠\n䶮𠮷,固原\n"
# GB 18030-2022 tables: two-byte code → character, written from the codes, not from the product's table.
CODES = {
    "A6D9": "FE10", "A6DA": "FE12", "A6DB": "FE11", "A6DC": "FE13", "A6DD": "FE14", "A6DE": "FE15", "A6DF": "FE16", "A6EC": "FE17",
    "A6ED": "FE18", "A6F3": "FE19", "A8BC": "1E3F", "FE51": "20087", "FE52": "20089", "FE53": "200CC", "FE59": "9FB4", "FE61": "9FB5",
    "FE66": "9FB6", "FE67": "9FB7", "FE6C": "215D7", "FE6D": "9FB8", "FE76": "2298F", "FE7E": "9FB9", "FE90": "9FBA", "FE91": "241FE",
    "FEA0": "9FBB",
}


def test_the_25_codes_of_gb18030_2022(bench):
    assert len(CODES) == len(GB18030_2022) == 25
    body = b"".join(f"{c},".encode() + bytes.fromhex(c) + b"\n" for c in CODES)
    got = bench.read("姓名,字\n".encode("gb18030") + body, encoding="gb18030")
    assert got.cells == [[code, chr(int(char, 16))] for code, char in CODES.items()]
    assert (got.unit.repairs, got.reading.by) == (0, "records")


@pytest.mark.parametrize("declared", ["gb18030", "utf-8", "auto"])
@pytest.mark.parametrize("written", ["gb18030", "gbk", "utf-8", "utf-8-sig"])
def test_the_bytes_decide_whatever_is_declared(bench, declared, written):
    names = NAMES.replace("䶮𠮷", "王六") if written == "gbk" else NAMES
    got = bench.read(f"姓名,地\n{names * 30}".encode(written), encoding=declared)
    assert got.unit.header == ("姓名", "地")
    assert got.cells == [line.split(",") for line in (names * 30).splitlines()]
    assert got.unit.encoding == ("utf-8" if written.startswith("utf") else "gb18030")


def test_a_tiny_gb18030_file_that_happens_to_be_utf8_stays_what_is_declared(bench):
    """袁 is D4 AC, also a valid UTF-8 sequence; with nothing else to go by the contract decides."""
    assert bench.read("a,b\n袁,1\n".encode("gb18030"), encoding="gb18030").cells == [["袁", "1"]]


def test_readable_utf8_is_read_in_place(bench):
    manifest, source, scratch = bench.land(f"姓名,地\n{NAMES}".encode(), encoding="auto")
    from pipelines import readers
    [unit] = readers.units(manifest, source, scratch)
    assert unit.path == manifest.folder / "0001.csv" and not list(scratch.iterdir())


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "auto"])
def test_damaged_bytes_cost_their_lines_only(bench, encoding):
    codec = "utf-8" if encoding == "utf-8" else "gb18030"
    lines = [f"{i},张三丰{i},银川".encode(codec) for i in range(200)]
    lines[17] = lines[17].replace("张".encode(codec), b"\xff")
    lines[101] += b"\x81"          # a lead byte before the line end must not swallow it
    got = bench.read(b"n,a,b\n" + b"\n".join(lines) + b"\n", encoding=encoding)
    assert got.reading.rejects == [(18, "encoding"), (102, "encoding")]
    assert [r[1] for r in got.rows] == [str(i) for i in range(200) if i not in (17, 101)]
    assert all(r[0] == int(r[1]) + 1 for r in got.rows) and got.unit.damaged == 2


def test_damaged_utf8_is_not_taken_for_gb18030(bench):
    got = bench.read(f"姓名,地\n{NAMES * 5}".encode() + b"\xe5\xbc,x\n", encoding="auto")
    assert got.unit.encoding == "utf-8" and got.reading.rejects == [(21, "encoding")] and got.cells[0] == ["张三", "银川市"]


def test_nul_and_noncharacters_cost_their_lines_only(bench):
    got = bench.read("a,b\n1,x\n2,\0\n3,\U0010ffff\n4,\U0010fffe\n5,y\n".encode())
    assert got.reading.rejects == [(2, "nul"), (3, "encoding"), (4, "encoding")]
    assert got.cells == [["1", "x"], ["5", "y"]]


@pytest.mark.parametrize("content, code", [
    (b"", "empty"),
    (b"PK\x03\x04" + bytes(200), "archive"),
    (b"\xd0\xcf\x11\xe0" + bytes(200), "binary"),
    (b"a,b\n" + b"\0" * 300, "binary"),
    (b"a,b\n" + b"x" * 3_000_000, "line_size"),
    (b"a,b\n1," + b"x" * 2_100_000 + b"\n2,y\n", "line_size"),
])
def test_what_is_not_text_is_refused(bench, content, code):
    assert bench.refused(content) == code


def test_a_changed_landing_file_is_refused(bench):
    from pipelines import readers
    manifest, source, scratch = bench.land(b"a,b\n1,2\n")
    stored = manifest.folder / "0001.csv"
    stored.chmod(0o600)
    stored.write_bytes(b"a,b\n1,3\n")
    with pytest.raises(readers.ReadRefused) as refused:
        readers.units(manifest, source, scratch)
    assert refused.value.code == "changed"


def test_any_bytes_give_a_reading_that_closes_or_a_refusal(bench):
    from pipelines import readers
    for seed in range(40):
        rng = random.Random(seed)
        alphabet = [b"\n", b"\r", b",", b'"', b"a", b"\0", b"\xff", b"\x81", "张".encode(), "张".encode("gb18030"), b"\x1a", b" "]
        content = b"".join(rng.choice(alphabet) for _ in range(rng.randint(0, 80)))
        try:
            bench.read_all(b"a,b\n" * rng.randint(0, 1) + content, encoding=rng.choice(["auto", "gb18030", "utf-8"]))
        except readers.ReadRefused as refused:
            assert refused.code in ("empty", "header", "binary", "encoding"), (seed, refused.code)


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_is_counted_by_its_characters(bench, codec, mark):
    """上 is U+4E0A: its bytes hold 0x0A, which is no line end."""
    text = "n,姓名,地\r\n" + "".join(f"{i},上官\U00020bb7{i},\"银川\n上海\"\r\n" for i in range(50))
    got = bench.read((("\ufeff" if mark else "") + text).encode(codec))
    assert (got.unit.encoding, got.unit.lines, got.reading.by) == (codec, 101, "records")
    assert got.cells == [[str(i), f"上官\U00020bb7{i}", "银川\n上海"] for i in range(50)]


def test_big5_is_read_where_it_is_declared(bench):
    got = bench.read("姓名,地址\n張國榮,臺北市\n許功蓋,淡水鎮\n".encode("big5"), encoding="big5")
    assert (got.unit.encoding, got.cells) == ("big5", [["張國榮", "臺北市"], ["許功蓋", "淡水鎮"]])


@pytest.mark.parametrize("outer", ["utf-8", "gb18030"])
@pytest.mark.parametrize("wrong", ["latin-1", "windows-1252"])
def test_gbk_that_was_read_as_latin_is_repaired_for_the_whole_file(bench, outer, wrong):
    meant = "姓名,地址\n" + "张三丰,宁夏银川\n李四,€5 石嘴山市\n" * 20
    raw = meant.encode("gb18030")
    garbled = raw.decode("latin-1") if wrong == "latin-1" else "".join(
        chr(b) if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([b]).decode("cp1252") for b in raw)
    got = bench.read(garbled.encode(outer))
    assert [list(got.unit.header), *got.cells] == [line.split(",") for line in meant.splitlines()]
    assert "repaired" in got.unit.evidence


def test_utf8_that_was_read_as_gbk_is_repaired_and_what_was_lost_is_listed(bench):
    """Every odd run of bytes lost its last one: 李四丰 cannot be had back, 张三 can."""
    meant = ["张三,银川", "李四丰,石嘴山市"] * 10
    got = bench.read("\n".join(["姓名,地址", *meant]).encode().decode("gbk", "replace").encode())
    assert got.cells == [["张三", "银川"]] * 10
    assert got.reading.rejects == [(n, "encoding") for n in range(2, 21, 2)]


def test_western_names_are_no_mojibake(bench):
    rows = [["José García", "Ångström"], ["Müller façade", "Ünal Çelik"]] * 10
    assert bench.read(("name,town\n" + "\n".join(map(",".join, rows))).encode()).cells == rows


def test_private_use_characters_of_old_fonts_are_mapped_and_counted(bench):
    got = bench.read("姓名,地\n\ue863\u5b87,\ue7c7\n张三,银川\n".encode())
    assert (got.cells[0], got.unit.repairs, got.unit.encoding) == (["䶮宇", "ḿ"], 2, "utf-8")


def test_the_c_library_and_python_s_codec_agree_on_every_code():
    """Both ways lead through the same table, so a name does not depend on which of them read it."""
    from pipelines.readers import iconv
    from pipelines.readers.marks import private_use
    second = (*range(0x40, 0x7F), *range(0x80, 0xFF))
    codes = [bytes((a, b)) for a in range(0x81, 0xFF) for b in second]
    codes += [bytes((a, b, c, d)) for a in (*range(0x81, 0x85), *range(0x90, 0xE4)) for b in range(0x30, 0x3A)
              for c in range(0x81, 0xFF) for d in range(0x30, 0x3A)][::11]
    taken = 0
    for code in codes:
        fast = iconv.utf8(code)
        if fast is not None:
            taken += 1
            assert private_use(fast.decode())[0] == private_use(code.decode("gb18030"))[0], code.hex()
    assert taken in (0, *range(len(codes) // 2, len(codes) + 1))


def test_blocks_with_and_without_faults_keep_their_order(bench):
    lines = [f"{i},张三丰{i % 7},银川市兴庆区解放西街" for i in range(120_000)]
    raw = [line.encode("gb18030") for line in lines]
    raw[60_000] = b"60000,\xff,x"
    got = bench.read(b"n,a,b\n" + b"\n".join(raw) + b"\n")
    assert got.reading.rejects == [(60_001, "encoding")]
    assert [row[1] for row in got.rows] == [str(i) for i in range(120_000) if i != 60_000]
