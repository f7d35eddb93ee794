"""What a run left, against the truth: counts, rules, and the content of every accepted and every rejected row."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

from tests.benchmarks.job.data import HEADER, STANDARD


def wrong(data: Path, results: Path, said: dict[str, Any]) -> list[str]:
    """Everything that is not as `data`'s truth has it; empty when all is right."""
    truth, con = json.loads((data / "truth.json").read_text("utf-8")), duckdb.connect()
    found = {key: said[key] for key in ("rows_in", "accepted", "duplicates", "quarantined")}
    found |= {f"{rule} {key}": said["rules"][rule][key] for rule in truth["rules"] for key in ("failed", "status")}
    want = {key: truth[key] for key in ("rows_in", "accepted", "duplicates", "quarantined")}
    want |= {f"{rule} {key}": of[key] for rule, of in truth["rules"].items() for key in ("failed", "status")}
    accepted = f"read_parquet('{results}/accepted/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    found["accepted rows"], found["their content"] = con.execute(_digest(accepted, STANDARD)).fetchone()
    found["by province"] = dict(con.execute(f"SELECT province, count(*) FROM {accepted} GROUP BY ALL ORDER BY ALL").fetchall())
    rejected = f"read_parquet('{results}/quarantine.parquet')"
    found["rejected rows"], found["their cells"] = con.execute(_digest(rejected, HEADER)).fetchone()
    reasons = dict(con.execute(f"SELECT r, count(*) FROM (SELECT unnest(reasons) AS r FROM {rejected}) GROUP BY ALL").fetchall())
    want |= {"accepted rows": truth["accepted"], "their content": truth["accepted_digest"], "by province": truth["provinces"],
             "rejected rows": truth["quarantined"], "their cells": truth["quarantine_raw_digest"]}
    found |= {f"quarantined for {rule}": reasons.get(rule, 0) for rule in truth["rules"] if rule != "MOBILE"}
    want |= {f"quarantined for {rule}": of["failed"] for rule, of in truth["rules"].items() if rule != "MOBILE"}
    return [f"{key} {found[key]} instead of {want[key]}" for key in want if found[key] != want[key]]


def _digest(rows: str, columns: tuple[str, ...]) -> str:
    cells = ", ".join(f"coalesce(\"{c}\"::VARCHAR, '')" for c in columns)
    return f"SELECT count(*), sum(('0x' || md5(concat_ws('|', {cells}))[:15])::BIGINT)::VARCHAR FROM {rows}"
