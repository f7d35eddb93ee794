"""Record documents: JSON lines, JSON, XML, dBASE, Parquet; what is broken in them and what they can say beyond text."""
from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa

from tests.corpus import documents
from tests.corpus.forms import HEADER
from tests.corpus.model import SECRET, Case, loaded, refused, row, table

ROWS = table()
OBJECTS = documents.records(HEADER, ROWS)
EXTERNAL = '<!DOCTYPE data [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
LAUGHS = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _json_lines() -> Iterator[Case]:
    lines = documents.jsonl(HEADER, ROWS).splitlines(keepends=True)
    broken = [lines[2].replace(b"}", b""), b'["a", 1]\n', lines[2].strip() + lines[2], lines[2].replace(b"}", b",}"), "合计:6\n".encode(),
              lines[2].replace("有效".encode(), b"\0"), lines[2].replace(b"}", ',"姓名":"x"}'.encode())]
    reasons = ["json"] * 5 + ["nul", "repeat"]
    yield loaded("jsonl", "bad_lines", {"a.jsonl": b"".join([*lines[:2], *broken, *lines[2:]])}, ROWS, [(n, (f"line.{r}",)) for n, r in enumerate(reasons, 3)])
    yield loaded("jsonl", "bom_and_cut_last_row", {"a.jsonl": b"\xef\xbb\xbf" + b"".join(lines)[:-30]}, ROWS[:5], [(6, ("line.cut",))])
    yield loaded("jsonl", "blank_lines_crlf_and_no_end", {"a.jsonl": b"".join(lines).replace(b"\n", b"\r\n\r\n").rstrip()}, ROWS, blank=5)
    shuffled = [dict(sorted(r.items(), reverse=n % 2 > 0)) for n, r in enumerate(OBJECTS)]
    yield loaded("jsonl", "escapes_in_any_order", {"a.jsonl": b"".join(json.dumps(r).encode() + b"\n" for r in shuffled)}, ROWS)
    typed = [r | {"居住地区划": 640104, "状态": None, "操作": None} for r in OBJECTS]
    typed[1] |= {"公民身份号码": int(typed[1]["公民身份号码"])}
    typed[4] |= {"LATE": "x"}
    yield loaded("jsonl", "numbers_nulls_and_a_late_key", {"a.jsonl": b"".join(_dump(r) + b"\n" for r in typed)}, [row(n, status="") for n in range(1, 7)],
                 unmapped_columns=1)


def _json() -> Iterator[Case]:
    whole = documents.json_array(HEADER, ROWS)
    yield refused("json", "cut", {"a.json": whole[:-40]}, "json")
    yield refused("json", "broken", {"a.json": whole.replace(b'",', b'"', 1)}, "json")
    yield refused("json", "text_behind", {"a.json": whole + b"x"}, "json")
    yield refused("json", "declared_csv", {"a.csv": whole}, "form", {"format": "csv"})
    yield refused("json", "deep", {"a.json": b"[" * 100_000 + b"]" * 100_000}, "json")
    nested = _dump([OBJECTS[0] | {"状态": {"码": [1, 2]}}, *OBJECTS[1:]]).decode()
    yield loaded("json", "nested_cell_in_gb18030", {"a.json": nested.encode("gb18030")}, [row(1, status='{"码":[1,2]}'), *ROWS[1:]])
    wrapped = {"code": 0, "data": {"total": 6, "rows": OBJECTS}}
    yield loaded("json", "path_found", {"a.json": _dump(wrapped)}, ROWS)
    yield refused("json", "path_wrong", {"a.json": _dump(wrapped)}, "record_path", {"record_path": "data.list"})
    yield refused("json", "two_lists", {"a.json": _dump({"a": OBJECTS, "b": OBJECTS})}, "record_path")
    yield refused("json", "no_list", {"a.json": b'{"message": "ok",\n"data": {}}'}, "record_path")


def _xml() -> Iterator[Case]:
    whole = documents.xml(HEADER, ROWS)
    yield refused("xml", "cut", {"a.xml": whole[:-60]}, "xml")
    yield refused("xml", "external_entity", {"a.xml": whole.replace(b"<data>", EXTERNAL.encode() + b"<data>").replace("有效".encode(), b"&e;", 1)}, "entity")
    yield refused("xml", "billion_laughs", {"a.xml": whole.replace(b"<data>", LAUGHS.encode() + b"<data>").replace("有效".encode(), b"&c;", 1)}, "entity")
    yield refused("xml", "unknown_entity", {"a.xml": whole.replace("有效".encode(), b"&nbsp;", 1)}, "xml")
    yield loaded("xml", "in_utf_16", {"a.xml": documents.xml(HEADER, ROWS, "UTF-16")}, ROWS)
    marked = whole.replace("有效".encode(), "<![CDATA[<有效>]]>".encode(), 1).replace(b"<data>", b'<data xmlns="urn:x"><!-- a -->')
    yield loaded("xml", "cdata_namespace_and_comment", {"a.xml": marked}, [row(1, status="<有效>"), *ROWS[1:]])
    names = b"".join("<row {}/>".format(" ".join(f'{h}="{c}"' for h, c in zip(HEADER, r))).encode() for r in ROWS)
    yield loaded("xml", "attributes", {"a.xml": b"<data>" + names + b"</data>"}, ROWS)
    wrapped = whole.replace(b"<data>", b"<answer><head><total>6</total></head><data>").replace(b"</data>", b"</data></answer>")
    yield loaded("xml", "path_declared", {"a.xml": wrapped}, ROWS, source={"record_path": "answer.data.row"})
    yield refused("xml", "path_wrong", {"a.xml": wrapped}, "record_path", {"record_path": "answer.list.row"})


def _dbf() -> Iterator[Case]:
    source = documents.dbf_source(HEADER)
    whole = documents.dbf(HEADER, ROWS)
    yield refused("dbf", "cut", {"a.dbf": whole[:-60]}, "dbf", source)
    yield refused("dbf", "cut_header", {"a.dbf": whole[:100]}, "dbf", source | {"format": "dbf"})
    yield loaded("dbf", "deleted_rows", {"a.dbf": documents.dbf(HEADER, ROWS, deleted=(1, 4))}, [ROWS[0], *ROWS[2:4], ROWS[5]], source=source, records=4)
    yield loaded("dbf", "no_code_page_and_no_end_mark", {"a.dbf": documents.dbf(HEADER, ROWS, driver=0)[:-1]}, ROWS, source=source)
    yield loaded("dbf", "damaged_bytes", {"a.dbf": whole.replace("孙小三".encode("gbk"), b"\xff" * 6, 1)}, [ROWS[0], *ROWS[2:]],
                 [(2, ("line.encoding",))], source)
    yield refused("dbf", "declared_csv", {"a.dbf": whole}, "form", source | {"format": "csv"})


def _parquet() -> Iterator[Case]:
    whole = documents.parquet(HEADER, ROWS)
    yield refused("parquet", "cut", {"a.parquet": whole[:-60]}, "parquet")
    yield refused("parquet", "damaged_footer", {"a.parquet": whole[:-40] + b"\xff" * 20 + whole[-20:]}, "parquet")
    yield refused("parquet", "damaged_pages", {"a.parquet": whole[:4] + b"\xff" * 200 + whole[204:]}, "parquet")
    yield loaded("parquet", "dates_and_numbers", {"a.parquet": documents.parquet(HEADER, ROWS, {"csrq": pa.date32(), "居住地区划": pa.int64()})}, ROWS)
    yield refused("parquet", "same_name_twice", {"a.parquet": documents.parquet((*HEADER, "姓名"), [(*r, SECRET) for r in ROWS])}, "ambiguous_column")
    yield refused("parquet", "declared_csv", {"a.csv": whole}, "form", {"format": "csv"})


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _json_lines()
    yield from _json()
    yield from _xml()
    yield from _dbf()
    yield from _parquet()
