"""A real register of enterprises, onboarded as another source by contract alone."""
from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import duckdb
import pytest

from pipelines import staged_batches, steps
from tests.support import REPOSITORY, desk, project

REAL = Path(os.environ["LAKE_REAL_DATA"])
DATASET = "legal_entity.enterprise"
EXPECTED = {
    "reg15": {"uscc.length"}, "reg13": {"uscc.length"}, "len15": {"uscc.length", "uscc.format"}, "org_code_dash": {"uscc.length"},
    "old_certificate_text": {"uscc.length", "uscc.format"}, "bad_check": {"uscc.checksum", "uscc.org_checksum"},
    "blank": {"uscc.required"}, "lowercase_pass": set(),
}


@pytest.fixture
def at(tmp_path):
    contract = (REPOSITORY / "warehouse/contracts/legal_entity/enterprise.yaml").read_text()
    source = Path(__file__).with_name("register_source.yaml").read_text()
    made = project(tmp_path / "project", legal_entity__enterprise=contract.replace("schema:\n", source + "schema:\n", 1))
    (made.expectations / "legal_entity").mkdir()
    (made.expectations / "legal_entity/enterprise.yaml").write_text((REPOSITORY / "expectations/legal_entity/enterprise.yaml").read_text())
    return desk(tmp_path, made)


def _stage(at, tmp_path, name: str) -> tuple[list[str], Path]:
    file = tmp_path / name.removesuffix(".gz")
    file.write_bytes(gzip.decompress((REAL / name).read_bytes()))
    steps.submit(DATASET, [file], "open_register", "2026-11-01", desk=at)
    keys = steps.receive(DATASET, desk=at)
    assert steps.stage(DATASET, keys, at) == keys, steps.report(DATASET, keys, at)
    return keys, staged_batches.folder(at.lake, *steps.split_key(keys[0]))


def test_the_sample_loses_a_fraction_of_a_percent_for_the_right_reasons(at, tmp_path):
    keys, folder = _stage(at, tmp_path, "enterprise_register_sample.csv.gz")
    rules = duckdb.sql(f"SELECT rule, count(*) FROM (SELECT unnest(rules) AS rule FROM '{folder}/quarantine.parquet') GROUP BY ALL").fetchall()
    counts = staged_batches.read(at.lake, *steps.split_key(keys[0])).counts
    assert counts["unparseable"] == 0
    assert 0.0005 < counts["quarantined"] / counts["records"] < 0.01, rules
    capital = duckdb.sql(f"SELECT count(reg_capital) / count(*), count(DISTINCT reg_capital_currency) FROM '{folder}/accepted/*.parquet'").fetchone()
    assert capital[0] > 0.7 and capital[1] >= 6
    passed = steps.judge(DATASET, keys, at)
    assert passed == keys, steps.report(DATASET, keys, at)
    assert steps.commit(DATASET, passed, at)["current_rows"] == counts["accepted"]


def test_every_anomaly_gets_the_reason_of_its_class(at, tmp_path):
    keys, folder = _stage(at, tmp_path, "enterprise_register_code_anomalies.csv.gz")
    with gzip.open(REAL / "enterprise_register_code_anomalies.csv.gz", "rt", encoding="utf-8", newline="") as file:
        classes = {i: row["_class"] for i, row in enumerate(csv.DictReader(file), 1)}
    found = dict(duckdb.sql(f"SELECT _ordinal, rules FROM '{folder}/quarantine.parquet'").fetchall())
    wrong = []
    for ordinal, kind in classes.items():
        reasons = {r for r in found.get(ordinal, []) if r.startswith("uscc.")}
        if not (reasons <= EXPECTED[kind] and bool(reasons) == bool(EXPECTED[kind])):
            wrong.append((ordinal, kind, reasons))
    assert not wrong, wrong[:20]
    assert steps.judge(DATASET, keys, at) == []
