"""Against the truth of the sample: what was planted is found, for the right reason; nothing else is touched."""
from __future__ import annotations

import pytest
import sqlalchemy as sa

from pipelines import base, ledger as tables
from pipelines.contract import datasets
from pipelines.sql import name, texts


def _address(where: str) -> str:
    return ("SELECT u.batch_id, u._file, d.ordinal AS _ordinal, d.* EXCLUDE (ordinal) FROM defects d JOIN unit u "
            f"ON u.dataset = d.dataset AND u.source = d.source AND u.batch_date = d.batch_date AND u.file = d.file WHERE {where}")


def test_every_batch_of_the_sample_is_accepted(run):
    assert {d: o["troubles"] for d, o in run.outcomes.items() if o["troubles"]} == {}
    assert len(run.outcomes) == 12 and all(o["passed"] == o["keys"] and o["keys"] for o in run.outcomes.values())


def test_every_address_of_the_truth_is_a_record_of_landing(run):
    con = run.connect()
    assert con.execute("SELECT count(*) FROM defects").fetchone() == con.execute(f"SELECT count(*) FROM ({_address('true')})").fetchone()
    assert con.execute("SELECT count(*) FROM defects").fetchone()[0] > 500


def test_quarantine_is_exactly_what_was_planted_for_it(run):
    """Recall and precision are both 100 %: the two sets of addresses are equal."""
    con = run.connect()
    planted = f"SELECT DISTINCT batch_id, _file, _ordinal FROM ({_address(chr(39).join(['outcome = ', 'quarantined', '']))})"
    missed = con.execute(f"({planted}) EXCEPT SELECT batch_id, _file, _ordinal FROM quarantine").fetchall()
    innocent = con.execute(f"SELECT batch_id, _file, _ordinal, rules FROM quarantine WHERE (batch_id, _file, _ordinal) NOT IN ({planted})").fetchall()
    assert (missed[:10], innocent[:10]) == ([], [])


def test_every_quarantined_row_names_the_rule_that_was_planted(run):
    con = run.connect()
    wrong = con.execute(f"""
        SELECT p.dataset, p."column", p.defect, p.rule, q.rules FROM ({_address("outcome = 'quarantined'")}) p
        JOIN quarantine q USING (batch_id, _file, _ordinal) WHERE NOT list_contains(q.rules, p.rule)""").fetchall()
    assert wrong[:10] == []


def test_every_defect_is_seen_by_its_rule_and_no_rule_sees_a_clean_row(run):
    """Row by row: planted ⊆ seen, and a rule that fails a row without a planted defect is wrong.

    `form` also marks what a source writes otherwise throughout (labels for codes, slashes in dates); a rule with a
    window may fail the clean rows of a spoiled household or enterprise; an organisation that truly has no code (a lead of
    Q13) breaks the rule that it should have one.
    """
    con = run.connect()
    run.add_marks(con)
    con.execute(f"CREATE TABLE planted AS {_address('true')}")
    missed = con.execute("""
        SELECT dataset, "column", defect, rule, outcome, count(*), any_value(submitted) FROM planted p
        WHERE rule IS NOT NULL AND NOT EXISTS (FROM mark m WHERE (m.batch_id, m.rule, m._file, m._ordinal) = (p.batch_id, p.rule, p._file, p._ordinal)
            AND m.outcome = CASE WHEN p.outcome = 'repaired' AND NOT p.rule LIKE '%.form' THEN 'repaired' ELSE 'failed' END) GROUP BY ALL""").fetchall()
    windowed = [r.rule for d in datasets(run.desk.project) for r in run.desk.plan(d.id).business if "over (" in r.holds]
    con.execute(f"""CREATE TABLE codeless AS SELECT u.batch_id, u._file, c._ordinal FROM read_parquet('{run.truth}/clean/credit.administrative_*.parquet', union_by_name = true) c
        JOIN unit u ON u.file = c._file WHERE c.uscc IS NULL AND c.subject_kind <> '2'""")
    innocent = con.execute("""
        SELECT batch_id, rule, outcome, count(*) FROM mark ANTI JOIN planted USING (batch_id, _file, _ordinal)
        WHERE NOT rule LIKE '%.form' AND NOT list_contains(?, rule)
        AND NOT (rule = 'organisation_has_uscc' AND (batch_id, _file, _ordinal) IN (FROM codeless)) GROUP BY ALL""", [windowed]).fetchall()
    assert (missed[:10], innocent[:10]) == ([], [])


def test_every_accepted_value_equals_the_clean_one(run):
    """Repaired cells hold the clean value, flagged ones nothing or the value as sent; all others are untouched."""
    con = run.connect()
    checked, wrong = 0, []
    for found in datasets(run.desk.project):
        plan = run.desk.plan(found.id)
        files = [f for v in base.state(run.desk.lake, plan).segments.values() for f in v.files]
        con.execute(f"CREATE OR REPLACE VIEW accepted AS FROM read_parquet({texts(files)})")
        for source in found.sources:
            clean = run.truth / "clean" / f"{found.id}~{source.source}~2026-11-01.parquet"
            for column in found.columns:
                if column.name in (*source.not_sent, *dict(source.constants)):
                    continue
                physical = plan.type(column.name).physical
                shared = " OR ".join(f"\"column\" = '{c.name}'" for c in found.columns if c is column or set(c.aliases) & set(column.aliases))
                rows = con.execute(f"""
                    WITH c AS (SELECT u.batch_id AS _batch, u._file, c._ordinal, c.{name(column.name)} AS clean FROM '{clean}' c
                               JOIN unit u ON u.file = c._file AND u.dataset = ? AND u.source = ?),
                    d AS (SELECT batch_id AS _batch, _file, _ordinal, outcome, defect FROM ({_address(f'({shared})')}) WHERE dataset = ? AND source = ?)
                    SELECT count(*), count(*) FILTER (
                        a.{name(column.name)} IS DISTINCT FROM try_cast(c.clean AS {physical}) AND coalesce(d.outcome, '') IN ('', 'repaired'))
                    FROM accepted a JOIN c USING (_batch, _file, _ordinal) LEFT JOIN d USING (_batch, _file, _ordinal)""",
                    [found.id, source.source, found.id, source.source]).fetchone()
                checked += rows[0]
                if rows[1]:
                    wrong.append((found.id, source.source, column.name, rows[1]))
    assert checked > 100_000
    assert wrong == []


def test_both_conservation_equations_close(run):
    con = run.connect()
    for row in run.desk.ledger.rows(sa.select(tables.batches)):
        parts = ("accepted", "copies", "superseded", "quarantined", "deletes")
        assert row["records"] == sum(row[p] for p in parts), row["batch_id"]
        planted = con.execute(f"SELECT count(*) FILTER (outcome = 'duplicate'), count(*) FILTER (outcome = 'superseded') FROM ({_address('true')}) WHERE batch_id = ?",
                              [row["batch_id"]]).fetchone()
        assert (row["copies"], row["superseded"]) == planted, row["batch_id"]


LEADS = {
    "Q1": ("SELECT DISTINCT uscc, record FROM leads WHERE question = 'Q1'", "SELECT DISTINCT uscc, case_no FROM lake.credit.legal_rep_defaulter"),
    "Q3": ("SELECT DISTINCT uscc, record FROM leads WHERE question = 'Q3'", "SELECT DISTINCT uscc, decision_no FROM lake.legal_entity.dead_entity_live_licence"),
    "Q5": ("SELECT count(DISTINCT id_number) FROM leads WHERE question = 'Q5'", "SELECT count(DISTINCT person_id) FROM lake.population.benefit_after_death"),
    "Q6": ("SELECT rule, count(DISTINCT id_number) FROM leads WHERE question = 'Q6' GROUP BY ALL",
           "SELECT role, count(DISTINCT person_id) FROM lake.population.dead_active_role GROUP BY ALL"),
    "Q8": ("SELECT DISTINCT rule, uscc FROM leads WHERE question = 'Q8'", "SELECT DISTINCT cluster_kind, unnest(usccs) FROM lake.legal_entity.shell_cluster"),
    "Q13": ("SELECT DISTINCT rule, record FROM leads WHERE question = 'Q13'", "SELECT DISTINCT why, decision_no FROM lake.credit.unmatched_records"),
}


@pytest.mark.parametrize("question", LEADS)
def test_the_theme_views_find_every_planted_lead(run, question):
    con = run.connect()
    con.execute(f"ATTACH '{run.desk.lake.database}' AS lake (READ_ONLY)")
    con.execute("USE lake")
    want, seen = LEADS[question]
    want = set(con.execute(want.replace("FROM leads", "FROM memory.main.leads")).fetchall())
    seen = set(con.execute(seen).fetchall())
    assert want and not want - seen, (sorted(want - seen)[:5], sorted(seen)[:5])
