"""What there is to gain: the job as one hand-written DuckDB script, for this one file, with nothing kept but its results.

    python -m tests.benchmarks.job.limit FILE FOLDER

No contract, no ledger, no table format, no proof that no line was lost; it knows which cells can be dirty and how. The same outputs as the job asks of
everybody: accepted/province=…/*.parquet, quarantine.parquet, report.json, lake.duckdb with the view person_masked.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb

from tests.benchmarks.job.data import HEADER, LEAST

_DIGIT = {10 ** k: w for k, w in zip(range(17), (2, 4, 8, 5, 10, 9, 7, 3, 6, 1, 2, 4, 8, 5, 10, 9, 7))}      # power of ten → weight
_REJECTS = list(LEAST)[:-1]


def decode(file: Path, folder: Path) -> list[str]:
    """UTF-8 pieces of the file, as many as there are cores, each cut behind a line end and without the header."""
    with open(file, "rb") as read:
        first, size, cuts = len(read.readline()), file.stat().st_size, []
        for k in range(1, os.cpu_count() or 1):
            read.seek(first + (size - first) * k // os.cpu_count())
            read.readline()
            cuts.append(read.tell())
    pieces, running = [], []
    for k, (start, end) in enumerate(zip([first, *cuts], [*cuts, size])):
        pieces.append(str(folder / f"{k}.csv"))
        running.append(subprocess.Popen(f"tail -c +{start + 1} '{file}' | head -c {end - start} | iconv -f GB18030 -t UTF-8 > '{pieces[-1]}'", shell=True))
    if any([one.wait() for one in running]):
        sys.exit("the file is no GB 18030")
    return pieces


def main(file: Path, out: Path) -> None:
    """Do the job; prints phases and the result."""
    clock, phases = [time.time()], {}

    def done(phase: str) -> None:
        clock.append(time.time())
        phases[phase] = round(clock[-1] - clock[-2], 2)

    (out / "scratch").mkdir(parents=True, exist_ok=True)
    pieces = decode(file, out / "scratch")
    done("decode")
    con = duckdb.connect(str(out / "lake.duckdb"))
    con.execute("SET preserve_insertion_order = false")
    _judge(con, file.parent / "ref", pieces)
    done("read, standardise, judge")
    con.execute("""CREATE TEMP TABLE beaten AS SELECT place FROM (SELECT rowid AS place, id_no, update_date FROM judged WHERE bits = 0 AND id_no IN
        (SELECT id_no FROM judged WHERE bits = 0 GROUP BY id_no HAVING count(*) > 1)) QUALIFY row_number() OVER (PARTITION BY id_no ORDER BY update_date DESC) > 1""")
    done("duplicates")
    con.execute(f"""COPY (SELECT id_no, name, sex_code, birth_date, ethnic_code, region_code, address, mobile, mobile_ok, update_date, region_code[:2] AS province
        FROM judged WHERE bits = 0 AND rowid NOT IN (FROM beaten)) TO '{out}/accepted' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (province), ROW_GROUP_SIZE 30720)""")
    done("accepted")
    reasons = ", ".join(f"CASE WHEN bits & {1 << i} > 0 THEN '{rule}' END" for i, rule in enumerate(_REJECTS))
    raw = ", ".join(f'r{i} AS "{h}"' for i, h in enumerate(HEADER))
    con.execute(f"COPY (SELECT {raw}, list_filter([{reasons}], lambda r: r IS NOT NULL) AS reasons FROM judged WHERE bits > 0) "
                f"TO '{out}/quarantine.parquet' (FORMAT parquet, COMPRESSION zstd)")
    result = _result(con)
    (out / "report.json").write_text(json.dumps(result))
    con.execute(f"""CREATE VIEW person_masked AS SELECT * REPLACE (id_no[:6] || '********' || id_no[15:] AS id_no, name[1] || '*' AS name)
        FROM read_parquet('{out}/accepted/*/*.parquet', hive_partitioning = true)""")
    con.close()
    shutil.rmtree(out / "scratch")
    done("quarantine, report, view")
    print("phases", json.dumps(phases))
    print(json.dumps(result))


def _judge(con: duckdb.DuckDBPyConnection, ref: Path, pieces: list[str]) -> None:
    """`judged`: typed rows with a bit per broken rule; the cells of rows that break none are not kept."""
    groups = con.execute(f"SELECT code, name FROM read_csv('{ref}/ethnic.csv', all_varchar = true) ORDER BY code").fetchall()
    spelled = ", ".join(f"'{code}', '{name}', '{name[:-1]}'" for code, name in groups)
    regions = ", ".join(f"'{code}'" for code, in con.execute(f"SELECT code FROM read_csv('{ref}/regions.csv', all_varchar = true)").fetchall())
    con.execute(f"CREATE TYPE groups AS ENUM ({spelled}); CREATE TYPE regions AS ENUM ({regions})")
    con.execute("CREATE TEMP MACRO half(x, n) AS CASE WHEN strlen(x) = n AND NOT contains(x, ' ') THEN x ELSE trim(translate(x, '０１２３４５６７８９ｘＸ－　', '0123456789xX- ')) END")
    cells = ", ".join(f"'r{i}': 'VARCHAR'" for i in range(9))
    total = " + ".join(f"n17 // {power} % 10 * {weight}" for power, weight in _DIGIT.items())
    con.execute(f"""
        CREATE TEMP TABLE judged AS
        SELECT {', '.join(f'CASE WHEN bits > 0 THEN r{i} END AS r{i}' for i in range(9))}, * EXCLUDE ({', '.join(f'r{i}' for i in range(9))}, n17, said, ethnic),
            {[code for code, _ in groups]}[enum_code(ethnic) // 3 + 1] AS ethnic_code
        FROM (SELECT *, coalesce('10X98765432'[1 + ({total}) % 11] <> id_no[18] OR strlen(id_no) <> 18, true)::UTINYINT
                + coalesce(strftime(birth_date, '%Y%m%d') <> id_no[7:14], true)::UTINYINT * 2 + (sex_code <> '9' AND coalesce(n17 % 2 <> (sex_code = '1')::INT, true))::UTINYINT * 4
                + (try_cast(region_code AS regions) IS NULL)::UTINYINT * 8 + (name = '')::UTINYINT * 16 AS bits, regexp_full_match(mobile, '1[3-9][0-9]{{9}}') AS mobile_ok
            FROM (SELECT *, CASE WHEN regexp_full_match(id_no, '[0-9]{{17}}.*') THEN id_no[:17]::BIGINT END AS n17,
                    try_cast(CASE WHEN contains(said, '年') THEN replace(replace(rtrim(said, '日'), '年', '-'), '月', '-')
                                  WHEN strlen(said) = 8 AND NOT contains(said, '/') THEN said[:4] || '-' || said[5:6] || '-' || said[7:] ELSE said END AS DATE) AS birth_date
                FROM (SELECT *, upper(half(r0, 18)) AS id_no, CASE WHEN contains(r1, '　') OR contains(r1, ' ') THEN replace(replace(r1, '　', ''), ' ', '') ELSE r1 END AS name,
                        CASE r2 WHEN '男' THEN '1' WHEN '女' THEN '2' WHEN 'M' THEN '1' WHEN 'F' THEN '2' WHEN '1' THEN '1' WHEN '2' THEN '2' ELSE '9' END AS sex_code,
                        trim(r3) AS said, try_cast(trim(r4) AS groups) AS ethnic, half(r5, 6) AS region_code, trim(r6, ' 　') AS address, half(r7, 11) AS mobile, r8::DATE AS update_date
                    FROM read_csv({pieces}, auto_detect = false, header = false, delim = ',', quote = '"', escape = '"', new_line = '\\r\\n', columns = {{{cells}}},
                        force_not_null = {[f'r{i}' for i in range(9)]}))))""")


def _result(con: duckdb.DuckDBPyConnection) -> dict:
    rows, good, beaten, *failed = con.execute(f"""SELECT count(*), count(*) FILTER (bits = 0), (SELECT count(*) FROM beaten),
        {', '.join(f'count(*) FILTER (bits & {1 << i} > 0)' for i in range(5))}, count(*) FILTER (NOT mobile_ok) FROM judged""").fetchone()
    rules = {rule: {"failed": n, "status": "pass" if (rows - n) / rows >= LEAST[rule] else "fail"} for rule, n in zip(LEAST, failed)}
    return {"rows_in": rows, "accepted": good - beaten, "duplicates": beaten, "quarantined": rows - good, "rules": rules}


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
