"""Small files that are read by one statement come out as if each were read alone: rows, addresses, balances and faults."""
from __future__ import annotations

import pytest

from pipelines import readers

PLAIN, BROKEN = 30, {"an open quote", "two stray quotes", "a short row"}
ODD = {
    "values of several lines": b'n,a,b\n1,"x\n\ny",z\n2,"p\nq",r\n',
    "an open quote": b'n,a,b\n1,x,y\n2,"x,y\n3,x,y\n',
    "two stray quotes": b"n,a,b\n" + b"".join(b'%d,"a,b\n' % i if i == 3 else b'%d,a",b\n' % i if i == 70 else b"%d,a,b\n" % i for i in range(80)),
    "a short row": b"n,a,b\n1,x,y\n2,x\n3,x,y\n",
    "blank lines": b"n,a,b\n\n1,x,y\n\n2,x,y\n\n",
    "a byte order mark": "\ufeffn,a,b\n1,银川,y\n".encode(),
    "GB 18030": "n,a,b\n1,银川,中宁\n2,张三,李四\n".encode("gb18030"),
    "no last line end": b"n,a,b\n1,x,y\n2,x,y",
    "no record": b"n,a,b\n",
    "another header": b"a,b,n\nx,y,1\n",
    "a semicolon": b"n;a;b\n1;x;y\n2;x;y\n3;x;y\n",
    "CR LF": b"n,a,b\r\n1,x,y\r\n2,x,y\r\n",
    "an old title": b"list of persons\nn,a,b\n1,x,y\n2,x,z\n",
}
SPELLED = [["n"], ["a"], ["b"]]


def contents() -> dict[str, bytes]:
    """Plain files with the odd ones strewn in."""
    found = {f"plain {i}": b"n,a,b\n" + b"".join(b"%d,f%d,%s\n" % (n, i, b"x" * (n % 9)) for n in range(1, 40 + i)) for i in range(PLAIN)}
    for number, (name, content) in enumerate(ODD.items()):
        found = dict([*list(found.items())[:3 * number + 1], (name, content), *list(found.items())[3 * number + 1:]])
    return found


def _forget(bench) -> None:
    """The connection is the session's: tables of an earlier test go."""
    for name, in bench.con.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'group_%'").fetchall():
        bench.con.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("more", ["true", "c0 NOT IN (SELECT n FROM listed)"], ids=["plain", "join"])
def test_files_read_together_are_the_files_read_alone(bench, more, monkeypatch, planned):
    if planned:      # by the plan that many bytes get
        monkeypatch.setattr(readers.many.delimited, "SMALL", max(len(content) for content in contents().values()))
    files = contents()
    bench.con.execute("CREATE OR REPLACE TABLE listed AS SELECT unnest(['1', '2', '3']) AS n")
    _forget(bench)
    units = readers.units(*bench.land(*files.values()), SPELLED)
    alone = {unit.number: bench.read_unit(unit) for unit in units}

    def select(rows: str, ordinal: str = "NULL::BIGINT") -> str:
        return f"SELECT c0, c1, c2, {more} AS more, {ordinal} AS _line FROM {rows}"

    found = list(readers.together(bench.con, units, {unit.number: select for unit in units}))
    together = {number: reading for one in found for number, reading in one.readings.items()}
    rows = [row for one in found for row in bench.con.execute(f"SELECT _file, _ordinal, c0, c1, c2 FROM ({one.rows})").fetchall()]
    assert sorted(rows) == sorted((n, *row) for n in together for row in alone[n].rows)
    assert together == {n: alone[n].reading for n in together}
    by_name = [name for _, name in sorted((str(number), name) for number, name in enumerate(files))]      # files are numbered by their names
    apart = {name for name, unit in zip(by_name, units) if unit.number not in together}
    assert BROKEN <= apart and len(apart - BROKEN) <= 6, "one of its kind, or the last of its half, is read alone; nothing else is"
    assert all(reading.by == "records" and reading.closes for reading in together.values())
    assert not {"_lake_text"} & {name for name, in bench.con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


def test_a_trailer_is_asked_of_every_file(bench):
    good, bad = b"n,a,b\n1,x,y\n2,x,y\nTOTAL 2\n", b"n,a,b\n1,x,y\nTOTAL 2\n"
    manifest, source, scratch = bench.land(good, good.replace(b"x", b"z"), bad, trailer=r"TOTAL (\d+)")
    _forget(bench)
    units = readers.units(manifest, source, scratch, SPELLED)
    selects = {unit.number: lambda rows, ordinal="NULL::BIGINT": f"SELECT c0, {ordinal} AS _line FROM {rows}" for unit in units}
    [made] = readers.together(bench.con, units, selects)
    assert {n: reading.records for n, reading in made.readings.items()} == {1: 2, 2: 2}
    assert {n for n, in bench.con.execute(f"SELECT DISTINCT _file FROM ({made.rows})").fetchall()} == {1, 2}
    with pytest.raises(readers.ReadRefused, match="its trailer counts 2 records, it holds 1"):
        bench.read_unit(units[2])


def test_large_files_are_read_alone(bench, monkeypatch):
    monkeypatch.setattr(readers.delimited, "SMALL", 100)
    _forget(bench)
    units = readers.units(*bench.land(b"n,a,b\n1,x,y\n", b"n,a,b\n2,x,y\n", b"n,a,b\n" + b"3,x,y\n" * 50), SPELLED)
    [made] = readers.together(bench.con, units, {unit.number: lambda rows, ordinal: f"SELECT c0, {ordinal} AS _line FROM {rows}" for unit in units})
    assert set(made.readings) == {1, 2}
