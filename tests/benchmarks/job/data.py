"""The input of the job: one list of invented persons in GB 18030 with known defects, and what must come of it.

    python -m tests.benchmarks.job.data ROWS FOLDER

Writes person_gb18030.csv, ref/regions.csv, ref/ethnic.csv and truth.json. Every row is made clean first, then spoilt; the truth is what was made,
never what a checker finds. Shares of defects: full-width digits 1 %, lower-case x, stray blanks 0.5 %, wrong check character 0.3 %, birth
date 0.2 %, sex 0.2 %, unknown region 0.1 %, no name 0.1 %, mobile 0.3 %; 2 % report a person again (same line, older, newer).
"""
from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import duckdb

from tests.support import REPOSITORY

HEADER = ("公民身份号码", "姓名", "性别", "出生日期", "民族", "户籍区划代码", "住址", "手机", "更新日期")
STANDARD = ("id_no", "name", "sex_code", "birth_date", "ethnic_code", "region_code", "address", "mobile", "update_date")
LEAST = {"ID_CHECK": 0.995, "BIRTH_ID": 0.995, "SEX_ID": 0.995, "REGION_KNOWN": 0.998, "NAME_PRESENT": 0.9995, "MOBILE": 0.99}
REGIONS, PIECE = 61, 5_000_000
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_REFERENCE = REPOSITORY / "warehouse" / "reference"

# w: what is drawn for a report; h(w, k): an independent number; one(w, k, list): one of a list; p(w, k, share): true for a share of the reports.
_MACROS = """
CREATE MACRO h(w, k) AS (hash(w, k) >> 11)::BIGINT;
CREATE MACRO one(w, k, l) AS l[1 + h(w, k) % len(l)];
CREATE MACRO p(w, k, share) AS h(w, k) % 1000000 < share * 1000000;
CREATE MACRO wide(x) AS translate(x, '0123456789X', '０１２３４５６７８９Ｘ');
CREATE MACRO padded(w, k, x) AS one(w, k, [' ', '　', '  ']) || x || one(w, k + 1, ['', ' ', '　']);
CREATE MACRO row_digest(r) AS ('0x' || md5(r)[:15])::BIGINT;"""

# A row is a person's report: version 0 is the first, 1 an older, 2 a newer one; the same line again is the same version.
_REPORTS = """
CREATE TABLE report AS
WITH persons AS (SELECT {first} + i AS person, 0 AS version, i AS line FROM range({persons}) t(i)),
again AS (SELECT {first} + (i * 7919) % {persons} AS person, CASE WHEN h(i, 'kind') % 10 < 4 THEN 0 WHEN h(i, 'kind') % 10 < 7 THEN 1 ELSE 2 END AS version, {persons} + i AS line
          FROM range({rows} - {persons}) t(i))
SELECT *, hash(person, version) AS w FROM (FROM persons UNION ALL FROM again)"""

_CLEAN = """
CREATE TABLE clean AS
WITH person AS (
    SELECT *, h(person, 'm') % 100 < 51 AS male, (SELECT list(code ORDER BY code) FROM regions) AS codes, DATE '1938-01-01' + (person // {regions} % 26297)::INTEGER AS born,
        (person // ({regions} * 26297)) AS block
    FROM report),
numbered AS (
    SELECT *, codes[1 + person % {regions}] || strftime(born, '%Y%m%d') || lpad((100 + block * 2 + male::INTEGER)::VARCHAR, 3, '0') AS first17,
        codes[1 + CASE WHEN h(person, 'home') % 10 = 0 THEN h(person, 'region') % {regions} ELSE person % {regions} END] AS region_code FROM person)
SELECT person, version, line, w, first17 || '10X98765432'[1 + (list_sum(list_transform(range(1, 18), lambda i: first17[i]::INTEGER * {weights}[i])) % 11)::BIGINT] AS id_no, male, born,
    (['王', '李', '张', '刘', '陈', '杨', '赵', '黄', '欧阳', '马'])[1 + h(person, 'a') % 10] || chr((19968 + h(person, 'b') % 6000)::INTEGER)
        || CASE WHEN h(person, 'c') % 100 < 2 THEN (['𠮷', '㛃', '𣲗', '喆'])[1 + h(person, 'd') % 4] WHEN h(person, 'c') % 4 > 0 THEN chr((20001 + h(person, 'd') % 5000)::INTEGER) ELSE '' END AS name,
    1 + CASE WHEN h(person, 'e') % 100 < 91 THEN 0 ELSE h(person, 'e') % 56 END AS ethnic, region_code,
    (SELECT any_value(n.name) FROM regions n WHERE n.code = region_code) || one(w, 1, ['人民路', '解放路', '建设路', '中山路', '和平街', '长江路']) || (1 + h(w, 2) % 300) || '号'
        || CASE WHEN p(w, 3, 0.01) THEN ',' || (1 + h(w, 4) % 20) || '单元' WHEN p(w, 3, 0.011) THEN '"翠湖小区"' || (1 + h(w, 4) % 30) || '栋'
                WHEN p(w, 3, 0.6) THEN '翠湖小区' || (1 + h(w, 4) % 30) || '栋' || (1 + h(w, 5) % 6) || '单元' || (100 + h(w, 6) % 2800) || '室' ELSE '' END AS address,
    one(w, 7, ['130', '135', '139', '158', '177', '188', '199']) || lpad((h(w, 8) % 100000000)::VARCHAR, 8, '0') AS mobile,
    DATE '2014-12-06' + (h(person, 'u') % 4000 + CASE version WHEN 0 THEN 0 WHEN 1 THEN -1 - h(person, 'v') % 300 ELSE 1 + h(person, 'v') % 300 END)::INTEGER AS update_date
FROM numbered"""

_SPOILT = """
CREATE TABLE spoilt AS
WITH marked AS (
    SELECT *, p(w, 20, 0.003) AS bad_id, p(w, 21, 0.002) AS bad_birth, p(w, 22, 0.002) AND NOT p(w, 23, 0.03) AS bad_sex, p(w, 24, 0.001) AS bad_region, p(w, 25, 0.001) AS no_name, p(w, 26, 0.003) AS bad_mobile,
        CASE WHEN p(w, 27, 0.005) THEN h(w, 28) % 4 END AS blank, CASE WHEN p(w, 23, 0.03) THEN '9' WHEN male <> (p(w, 22, 0.002)) THEN '1' ELSE '2' END AS sex_code,
        strftime(born, '%Y-%m-%d') AS birth_date, lpad(ethnic::VARCHAR, 2, '0') AS ethnic_code FROM clean),
said AS (
    SELECT *, CASE WHEN bad_id THEN id_no[:17] || CASE WHEN id_no[18] = '5' THEN '6' ELSE '5' END ELSE id_no END AS number,
        CASE WHEN bad_birth THEN CASE WHEN p(w, 29, 0.2) THEN one(w, 30, ['1990-02-30', '19861301', '1975/4/31', '1988年13月1日']) ELSE strftime(born + 1 + (h(w, 31) % 900)::INTEGER, '%Y-%m-%d') END END AS other_birth
    FROM marked)
SELECT * EXCLUDE (name, mobile), CASE WHEN no_name THEN '' ELSE name END AS name,
    CASE WHEN bad_mobile THEN one(w, 32, [mobile[:10], mobile || '1', '12' || mobile[3:], '0532-8' || mobile[6:], '']) ELSE mobile END AS mobile,
    CASE WHEN blank = 0 THEN padded(w, 40, shown) ELSE shown END AS r0,
    CASE WHEN no_name THEN one(w, 33, ['', ' ', '　']) WHEN blank = 1 AND length(name) = 2 THEN name[1] || '　' || name[2] WHEN blank = 1 THEN padded(w, 40, name) ELSE name END AS r1,
    CASE sex_code WHEN '9' THEN '' WHEN '1' THEN one(w, 34, ['男', '男', '男', '1', 'M']) ELSE one(w, 34, ['女', '女', '女', '2', 'F']) END AS r2,
    coalesce(other_birth, CASE WHEN p(w, 35, 0.6) THEN birth_date WHEN p(w, 35, 0.75) THEN year(born) || '/' || month(born) || '/' || day(born)
        WHEN p(w, 35, 0.9) THEN strftime(born, '%Y%m%d') ELSE year(born) || '年' || month(born) || '月' || day(born) || '日' END) AS r3,
    CASE WHEN p(w, 36, 0.5) THEN group_name WHEN p(w, 36, 0.85) THEN left(group_name, length(group_name) - 1) ELSE ethnic_code END AS r4,
    CASE WHEN bad_region THEN one(w, 37, ['999999', '000000', '110199', '330799', '658888', '12010', 'A10101']) ELSE region_code END AS r5,
    CASE WHEN blank = 2 THEN padded(w, 40, address) ELSE address END AS r6
FROM (SELECT said.*, e.name AS group_name, CASE WHEN p(w, 38, 0.01) THEN wide(number) WHEN p(w, 39, 0.11) THEN lower(number) ELSE number END AS shown
      FROM said JOIN ethnic e ON e.code = ethnic_code)"""

_ROWS = """
CREATE TABLE made AS
SELECT line, r0, r1, r2, r3, r4, r5, r6, CASE WHEN blank = 3 THEN padded(w, 40, mobile) ELSE mobile END AS r7, strftime(update_date, '%Y-%m-%d') AS r8,
    bad_id, bad_birth, bad_sex, bad_region, no_name, bad_mobile, bad_id OR bad_birth OR bad_sex OR bad_region OR no_name AS bad, person, update_date, region_code[:2] AS province,
    row_digest(concat_ws('|', id_no, name, sex_code, birth_date, ethnic_code, region_code, address, mobile, r8)) AS digest
FROM spoilt"""


def make(rows: int, folder: Path) -> None:
    """Write the input and its truth into `folder`, `PIECE` rows at a time: each piece has persons of its own."""
    (folder / "ref").mkdir(parents=True, exist_ok=True)
    truths, file = [], folder / "person_gb18030.csv"
    file.unlink(missing_ok=True)
    for begin in range(0, rows, PIECE):
        count = min(PIECE, rows - begin)
        with duckdb.connect() as con:
            con.execute("SET preserve_insertion_order = false")
            _lists(con, folder)
            con.execute(_MACROS)
            first = begin - begin // 50
            for made, statement, given in (("report", _REPORTS, {"first": first, "rows": count, "persons": count - count // 50}),
                                           ("clean", _CLEAN, {"regions": REGIONS, "weights": list(_WEIGHTS)}), ("spoilt", _SPOILT, {}), ("made", _ROWS, {})):
                con.execute(statement.format(**given) if given else statement)
                con.execute(f"DROP TABLE IF EXISTS {dict(clean='report', spoilt='clean', made='spoilt').get(made, 'nothing')}")
            _write(con, folder / "utf8.csv", file)
            truths.append(_truth(con))
    (folder / "truth.json").write_text(json.dumps(_together(truths, rows), ensure_ascii=False, indent=1))


def _lists(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    con.execute(f"CREATE TABLE regions AS SELECT code, full_name AS name FROM read_csv('{_REFERENCE}/admin_divisions.csv', all_varchar = true) "
                f"WHERE level = '3' AND code[1] < '7' ORDER BY hash(code) LIMIT {REGIONS}")
    con.execute(f"CREATE TABLE ethnic AS SELECT code, name FROM read_csv('{_REFERENCE}/ethnic_groups.csv', all_varchar = true) WHERE code::INTEGER <= 56")
    for table in ("regions", "ethnic"):
        con.execute(f"COPY (FROM {table} ORDER BY code) TO '{folder}/ref/{table}.csv' (HEADER)")


def _write(con: duckdb.DuckDBPyConnection, plain: Path, file: Path) -> None:
    """Add the rows to `file`, which gets a header when it is new."""
    columns = ", ".join(f'r{i} AS "{h}"' for i, h in enumerate(HEADER))
    con.execute(f"SET preserve_insertion_order = true; COPY (SELECT {columns} FROM made ORDER BY hash(line), line) TO '{plain}' (HEADER {not file.exists()})")
    with open(plain, encoding="utf-8", newline="") as read, open(file, "a", encoding="gb18030", newline="") as write:
        while chunk := read.read(1 << 24):
            write.write(chunk.replace("\n", "\r\n"))
    plain.unlink()


def _truth(con: duckdb.DuckDBPyConnection) -> dict:
    con.execute("CREATE TABLE kept AS SELECT * FROM made WHERE NOT bad QUALIFY row_number() OVER (PARTITION BY person ORDER BY update_date DESC, line) = 1")
    accepted, digest = con.execute("SELECT count(*), sum(digest)::VARCHAR FROM kept").fetchone()
    raw = ", ".join(f"r{i}" for i in range(9))
    bad, raw_digest = con.execute(f"SELECT count(*), sum(row_digest(concat_ws('|', {raw})))::VARCHAR FROM made WHERE bad").fetchone()
    failed = con.execute(f"SELECT {', '.join(f'count(*) FILTER ({c})' for c in ('bad_id', 'bad_birth', 'bad_sex', 'bad_region', 'no_name', 'bad_mobile'))} FROM made").fetchone()
    return {"accepted": accepted, "accepted_digest": int(digest), "quarantined": bad, "quarantine_raw_digest": int(raw_digest), "failed": Counter(dict(zip(LEAST, failed))),
            "provinces": Counter(dict(con.execute("SELECT province, count(*) FROM kept GROUP BY ALL").fetchall()))}


def _together(pieces: list[dict], rows: int) -> dict:
    """The truth of all pieces: every part of it is a sum."""
    accepted, bad, digest, raw = (sum(p[k] for p in pieces) for k in ("accepted", "quarantined", "accepted_digest", "quarantine_raw_digest"))
    failed, provinces = (sum((p[k] for p in pieces), Counter()) for k in ("failed", "provinces"))
    rules = {r: {"failed": failed[r], "status": "pass" if (rows - failed[r]) / rows >= LEAST[r] else "fail"} for r in LEAST}
    return {"rows_in": rows, "accepted": accepted, "duplicates": rows - bad - accepted, "quarantined": bad, "rules": rules, "accepted_digest": str(digest),
            "quarantine_raw_digest": str(raw), "provinces": dict(sorted(provinces.items()))}


if __name__ == "__main__":
    make(int(sys.argv[1]), Path(sys.argv[2]))
