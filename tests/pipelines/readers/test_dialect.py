"""How a file is written is told from its first lines and the contract; what cannot be told costs no row silently."""
from __future__ import annotations

import pytest

from pipelines.readers import heading

SPELLED = [[heading.key(w) for w in words] for words in (("姓名", "name"), ("身份证号", "id_number"), ("地址", "address"))]
ROWS = [["张三", "110101199001011234", "银川市"], ["李四", "110101199001015678", "吴忠市"], ["王五", "110101199001019012", "固原市"]]


def text(delimiter: str, head: tuple[str, ...] = ("姓名", "身份证号", "地址"), before: str = "", after: str = "") -> bytes:
    return (before + "\n".join(delimiter.join(row) for row in [list(head), *ROWS]) + "\n" + after).encode()


@pytest.mark.parametrize("delimiter", [",", "\t", "|", ";", "^", "\x01", "~", "||", "|@|", "@@", "#", "，", "|+|", "$$"])
def test_the_delimiter_is_the_one_that_names_the_columns(bench, delimiter):
    got = bench.read(text(delimiter), spelled=SPELLED)
    assert (got.unit.delimiter, got.cells) == (delimiter, ROWS)
    assert f"delimiter {delimiter!r}" in got.unit.evidence and "names 3 columns" in got.unit.evidence


def test_a_declared_delimiter_binds(bench):
    assert bench.read(b"a|b,c\n1|2,3\n", delimiter="|").cells == [["1", "2,3"]]


@pytest.mark.parametrize(("before", "row"), [("2026年11月人口信息表\n", 2), ("\n单位：公安厅,,\n\n", 4), ("基本信息,,住址\n", 2)])
def test_titles_and_group_rows_above_the_header_belong_to_it(bench, before, row):
    got = bench.read(text(",", before=before), spelled=SPELLED)
    assert (got.cells, got.unit.header_row, got.reading.by) == (ROWS, row, "records")


def test_a_cell_below_a_merged_one_takes_its_text(bench):
    got = bench.read("姓名,证件,,地址\n,类型,身份证号,\n张三,身份证,1101,银川\n".encode(), spelled=SPELLED)
    assert (got.unit.header, got.cells) == (("姓名", "类型", "身份证号", "地址"), [["张三", "身份证", "1101", "银川"]])


@pytest.mark.parametrize("delimiter", [",", "|", "\t"])
def test_a_file_without_header_takes_the_contract_s(bench, delimiter):
    body = ("\n".join(delimiter.join(row) for row in ROWS) + "\n").encode()
    got = bench.read(body, header=("name", "id", "address"))
    assert (got.cells, got.unit.header_row, got.reading.header) == (ROWS, 0, 0)
    marked = bench.read(b"\xef\xbb\xbf" + body, header=("name", "id", "address"))
    assert marked.cells == ROWS


def test_single_quotes_and_backslash_escapes_are_told(bench):
    got = bench.read("姓名,地址\n'张,三','解放''西街'\n'李四','吴忠'\n".encode())
    assert got.cells == [["张,三", "解放'西街"], ["李四", "吴忠"]]
    got = bench.read('姓名,地址\n"张\\"三","a\\\\b"\n"李四","吴忠\n市"\n'.encode())
    assert (got.cells, got.reading.by) == ([['张"三', "a\\b"], ["李四", "吴忠\n市"]], "lines")


def test_declared_escapes_work_without_quotes_too(bench):
    got = bench.read(b"a,b\n1\\,2,x\\\\y\n\\N,z\n1,2,3\n", quote="", escape="\\")
    assert (got.cells, got.reading.rejects) == ([["1,2", "x\\y"], ["\\N", "z"]], [(3, "width")])


def test_escapes_keep_their_rows_when_quotes_are_broken(bench):
    rows = [f'"a\\"{i}","b{i}"' for i in range(30)]
    rows[9] = '"a,"b9"'
    got = bench.read(("x,y\n" + "\n".join(rows) + "\n").encode())
    assert got.reading.rejects == [(10, "quote")] and len(got.rows) == 29


@pytest.mark.parametrize("faulty", ['"x,,', '"x,,\n"y","z","w"'], ids=["at the end", "before a row"])
def test_a_cell_that_ends_in_a_backslash_does_not_make_escapes_of_others(bench, faulty):
    """Taken for an escape, it leaves a quote open that a faulty line below happens to close; the doubled quotes of the rows tell."""
    rows = [["b \"x\"\n \"a\nc", "1\\", "2\n3"], ["d \"e\"", "4", "5"]]
    text = "h,i,j\n" + "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows) + faulty
    got = bench.read(text.encode())
    assert got.unit.escape == '"' and got.cells[:2] == rows and [reason for _, reason in got.reading.rejects] == ["cut" if faulty == '"x,,' else "quote"]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "big5"])
def test_fixed_width_is_counted_in_bytes(bench, encoding):
    rows = [["張三", "110101", "銀川市"], ["歐陽國榮", "64", ""], ["李四", "", "a b"]]

    def cell(value: str, width: int) -> bytes:
        raw = value.encode(encoding)
        return raw + b" " * (width - len(raw))

    lines = [b"".join(cell(v, w) for v, w in zip(row, (14, 8, 12))) for row in rows]
    lines[2] = lines[2].rstrip()                                        # the last cell may be short
    cut = cell("趙六", 13) + "錢".encode(encoding) + b" " * 30           # a character across the border
    short = cell("孫七", 14) + b"64"
    got = bench.read(b"\r\n".join([*lines, cut[:34], short, b"x" * 34 + b"y"]) + b"\r\n", format="fixed", encoding=encoding, widths=(14, 8, 12),
                     header=("name", "code", "place"))
    assert got.cells == rows and got.reading.rejects == [(4, "width"), (5, "width"), (6, "width")]


def test_fixed_width_with_its_own_header(bench):
    got = bench.read("人口表\n姓名      身份证号  \n张三      1101      \n".encode("gb18030"), format="fixed", encoding="gb18030", widths=(10, 10), spelled=SPELLED)
    assert (got.unit.header, got.cells) == (("姓名", "身份证号"), [["张三", "1101"]])
    assert bench.refused("张三      1101      \n".encode("gb18030"), format="fixed", widths=(10, 10), spelled=SPELLED) == "header"


@pytest.mark.parametrize("after", ["合计,3\n", "合计,3", "合计,3\r\n\r\n\n", "合计,3\n\x1a"])
def test_a_trailer_is_no_row_and_its_count_must_agree(bench, after):
    got = bench.read(text(",", after=after), trailer=r"^合计,(\d+)")
    assert got.cells == ROWS and (got.reading.records, got.unit.expected) == (3, 3)
    assert bench.refused(text(",", after=after.replace("3", "4")), trailer=r"^合计,(\d+)") == "row_count"


def test_a_missing_trailer_means_a_cut_file(bench):
    assert bench.refused(text(","), trailer=r"^合计,(\d+)") == "trailer"
    got = bench.read(text(",", after="x\n合计,4\n"), trailer=r"^合计,(\d+)")
    assert got.reading.rejects == [(4, "width")]


def test_a_file_no_delimiter_cuts_is_refused(bench):
    assert bench.refused("姓名\n张三\n".encode(), spelled=SPELLED) == "delimiter"
