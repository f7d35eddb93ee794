"""The custom expectation alone: what it counts, what it asks the database for, how it reads."""
from __future__ import annotations

import pytest

from pipelines.gate import suite


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A view with 10 rows: rule `a.b` applies to 8 of them and is broken by 2."""
    import duckdb

    file = tmp_path_factory.mktemp("gx") / "one.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute('CREATE VIEW rules AS SELECT CASE WHEN i < 8 THEN i < 2 END AS "a.b" FROM range(10) t(i)')
    context = suite.great_expectations().get_context(mode="ephemeral")
    source = context.data_sources.add_sql("one", connection_string=f"duckdb:///{file}", kwargs=suite.ENGINE)
    rows = source.add_table_asset("rules", table_name="rules").add_batch_definition_whole_table("all").get_batch()

    def run(mostly, severity="reject"):
        return rows.validate(suite.expectations([{
            "rule": "a.b", "at_least": mostly, "severity": severity, "zh": "甲", "en": "a", "indicator": "0302", "owner": "某厅"}])[0],
            result_format=suite.COUNTS_ONLY)
    return run


@pytest.mark.parametrize("mostly,success", [(0.75, True), (0.7501, False), (0.8, False), (0.0, True), (1.0, False)])
def test_rows_it_does_not_apply_to_are_missing_not_passing(judged, mostly, success):
    found = judged(mostly)
    assert (found.result["element_count"], found.result["missing_count"], found.result["unexpected_count"]) == (10, 2, 2)
    assert found.success is success


def test_its_result_holds_counts_and_nothing_else(judged):
    assert set(judged(1.0).result) == {"element_count", "missing_count", "unexpected_count", "unexpected_percent"}


@pytest.mark.parametrize("severity,as_gx", [("block", "critical"), ("reject", "critical"), ("warn", "warning")])
def test_its_severity_follows_the_rule(judged, severity, as_gx):
    assert judged(1.0, severity).expectation_config.severity == as_gx


def test_it_reads_as_words(judged):
    from great_expectations.expectations.registry import get_renderer_impl

    render = get_renderer_impl("expect_rule_to_hold", "renderer.prescriptive").renderer
    said = render(configuration=judged(0.995).expectation_config)[0].string_template
    assert [said["params"][k] for k in ("zh", "en", "at_least", "indicator", "owner", "consequence")] == [
        "甲", "a", "99.5 %", "0302", "某厅", "拒收 reject"]
    assert "$zh" in said["template"] and "$en" in said["template"]
