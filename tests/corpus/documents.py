"""Record documents: JSON lines, JSON, XML, dBASE, Parquet. Each writer takes a header and rows of text."""
from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq

Cells = Sequence[str]
# dBASE names have ten bytes: the contract says which column each one is.
DBF_NAMES = {"公民身份号码": "SFZH", "id_number": "SFZHM", "姓名": "XM", "name": "NAME", "csrq": "CSRQ", "居住地区划": "JZDQH",
             "region_code": "QHDM", "状态": "ZT", "status": "STATUS", "操作": "操作"}
DBF_ALIASES = (("id_number", ("SFZH", "SFZHM")), ("name", ("XM",)), ("birth_date", ("CSRQ", "RQ")), ("region_code", ("JZDQH", "QHDM")),
               ("status", ("ZT",)))


def records(header: Cells, rows: Sequence[Cells]) -> list[dict[str, str]]:
    """Rows as objects; an empty cell is left out when it is the row's last, else it is an empty string."""
    return [{h: c for i, (h, c) in enumerate(zip(header, row)) if c or any(row[i:])} for row in rows]


def jsonl(header: Cells, rows: Sequence[Cells]) -> bytes:
    """One object per line."""
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records(header, rows)).encode()


def json_array(header: Cells, rows: Sequence[Cells]) -> bytes:
    """An array of objects."""
    return json.dumps(records(header, rows), ensure_ascii=False, indent=1).encode()


def json_nested(header: Cells, rows: Sequence[Cells]) -> bytes:
    """The array inside an answer as interfaces give it, beside a list that is not meant."""
    return json.dumps({"code": 0, "errors": [{"id": "1"}, {"id": "2"}], "data": {"total": len(rows), "records": records(header, rows)}},
                      ensure_ascii=False).encode()


def xml(header: Cells, rows: Sequence[Cells], declared: str = "UTF-8") -> bytes:
    """One element per row, one child per cell."""
    body = "".join("<row>" + "".join(f"<{h}>{escape(c)}</{h}>" for h, c in zip(header, row)) + "</row>\n" for row in rows)
    return f'<?xml version="1.0" encoding="{declared}"?>\n<data>\n{body}</data>\n'.encode(declared)


def dbf(header: Cells, rows: Sequence[Cells], encoding: str = "gbk", driver: int = 0x4D, deleted: Sequence[int] = ()) -> bytes:
    """A dBASE III table of character fields; `deleted` are the indices of rows that carry the deletion mark."""
    names = [DBF_NAMES.get(h, h).encode(encoding)[:10] for h in header]
    cells = [[c.encode(encoding) for c in row] for row in rows]
    widths = [max([len(row[i]) for row in cells] + [1]) for i in range(len(names))]
    fields = b"".join(struct.pack("<11sc4xBB14x", n, b"C", w, 0) for n, w in zip(names, widths))
    head = struct.pack("<B3BIHH17xB2x", 3, 126, 11, 1, len(rows), 33 + len(fields), 1 + sum(widths), driver)
    body = b"".join((b"*" if i in deleted else b" ") + b"".join(c.ljust(w) for c, w in zip(row, widths)) for i, row in enumerate(cells))
    return head + fields + b"\r" + body + b"\x1a"


def dbf_source(header: Cells) -> dict[str, Any]:
    """What the contract says about such a table."""
    return {"aliases": DBF_ALIASES}


def parquet(header: Cells, rows: Sequence[Cells], types: dict[str, pa.DataType] | None = None) -> bytes:
    """Text columns; an empty cell is NULL. Two columns of one name are possible."""
    columns = [pa.array([row[i] or None for row in rows], pa.string()) for i in range(len(header))]
    made = pa.Table.from_arrays([c.cast((types or {}).get(h, pa.string())) for h, c in zip(header, columns)], names=list(header))
    out = io.BytesIO()
    pq.write_table(made, out)
    return out.getvalue()
