"""Great Expectations, executing inside DuckDB: one expectation per rule, one query for all of them.

The data source is a throw-away DuckDB file holding one view over the staged masks; the context lives in memory, so
that nothing a killed run left on disk can change a verdict. The three engine settings below are what makes GX 1.24
work on DuckDB: it closes a connection before it fetches. `great_expectations` takes 3.5 s to import and is imported
only here and in `docs`, when a batch is judged. GX keeps one current context per process: do not judge in threads.
"""
from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from pipelines import sql, trouble
from pipelines.gate import staged
from pipelines.gate.verdict import GX_SEVERITY

PLUGINS = Path(__file__).resolve().parents[2] / "expectations" / "plugins"
COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0, "exclude_unexpected_values": True}
ENGINE = {"pool_reset_on_return": None, "isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}


def great_expectations() -> Any:
    """The `great_expectations` module, silent and offline, with the project's plugins importable."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for logger in ("great_expectations", "duckdb_sqlalchemy"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    with warnings.catch_warnings():  # its import sends every later warning of the process to the logs
        warnings.simplefilter("ignore")
        import great_expectations as gx

    return gx


def expectations(rules: list[dict[str, Any]]) -> list[Any]:
    """One expectation per planned rule, in plan order."""
    great_expectations()
    from expect_rule_to_hold import ExpectRuleToHold

    return [ExpectRuleToHold(
        rule=r["rule"], mostly=r["at_least"], severity=GX_SEVERITY[r["severity"]], zh=r["zh"],
        en=r["en"], indicator=r["indicator"], owner=r["owner"], consequence=r["severity"], field=r.get("field", "")) for r in rules]


def run(evidence: staged.Evidence, suite_name: str, run_name: str) -> tuple[Any, Any]:
    """Validate the staged masks.

    Args:
        evidence: staged rules, counts and masks, free of faults.
        suite_name: the suite's name, `<dataset>~<source>`.
        run_name: the run's name.

    Returns:
        The GX suite and its GX validation result.
    """
    gx = great_expectations()
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig
    from sqlalchemy.pool import StaticPool

    with tempfile.TemporaryDirectory(prefix=".gate-", dir=evidence.masks.parent) as scratch:
        database = Path(scratch) / "gate.duckdb"
        with sql.connect(database) as con:
            con.execute(staged.view(evidence))
        context = gx.get_context(mode="ephemeral", project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False)))
        source = context.data_sources.add_sql("staged", connection_string=f"duckdb:///{database}", kwargs=ENGINE | {
            "poolclass": StaticPool, "connect_args": {"config": _limits(scratch)}})
        try:
            rows = source.add_table_asset("rules", table_name="rules").add_batch_definition_whole_table("all")
            suite = gx.ExpectationSuite(name=suite_name, expectations=expectations(evidence.rules))
            validation = rows.get_batch().validate(suite, result_format=COUNTS_ONLY)
        finally:
            source.get_execution_engine().engine.dispose()
    run_id = RunIdentifier(run_name=run_name)
    validation.meta |= {"run_id": run_id, "validation_time": run_id.run_time, "batch_parameters": None, "checkpoint_id": None}
    return suite, validation


def counts(validation: Any, evidence: staged.Evidence) -> tuple[dict[str, tuple[int, int, bool]], list[str]]:
    """What GX counted per rule, and every way in which it did not finish or disagrees with staging.

    Returns:
        rule → (applicable, failed, success), and the faults.

    Raises:
        MachineTrouble: an exception that Great Expectations caught was the machine's.
    """
    found: dict[str, tuple[int, int, bool]] = {}
    faults = []
    for one in validation.results:
        rule, numbers = one.expectation_config.kwargs["rule"], one.result or {}
        if _raised(one.exception_info):
            if kind := trouble.in_words(str(one.exception_info)):
                raise trouble.MachineTrouble(kind)
            faults.append(f"Great Expectations could not evaluate {rule}: an exception was raised")
        elif rule in found:
            faults.append(f"Great Expectations judged {rule} twice")
        elif not all(isinstance(numbers.get(k), int) for k in ("element_count", "missing_count", "unexpected_count")):
            faults.append(f"Great Expectations returned no counts for {rule}: the run is unfinished")
        else:
            found[rule] = (numbers["element_count"] - numbers["missing_count"], numbers["unexpected_count"], one.success)
            if numbers["element_count"] != evidence.tested:
                faults.append(f"Great Expectations saw {numbers['element_count']:,} rows for {rule}, "
                              f"staging counted {evidence.tested:,}")
    return found, faults + _disagreements(found, evidence, faults)


def _disagreements(found: dict, evidence: staged.Evidence, known: list[str]) -> list[str]:
    planned = {r["rule"] for r in evidence.rules}
    faults = []
    if not known and set(found) != planned:
        faults.append(f"the suite judged {len(found)} rules, the plan holds {len(planned)}; "
                      f"differing: {', '.join(sorted(set(found) ^ planned)[:5])}")
    for rule in sorted(set(found) & planned):
        counted = evidence.counts["rules"][rule]
        if found[rule][:2] != (counted["applicable"], counted["failed"]):
            faults.append(f"{rule}: Great Expectations counts {found[rule][1]:,} of {found[rule][0]:,} failing, "
                          f"staging {counted['failed']:,} of {counted['applicable']:,}")
    return faults


def _raised(info: Any) -> bool:
    """GX reports an exception flat, or one level down by metric id."""
    if not isinstance(info, dict):
        return False
    return bool(info.get("raised_exception")) or any(_raised(v) for v in info.values())


def _limits(scratch: str) -> dict[str, str]:
    return {"threads": str(sql.threads()), "memory_limit": f"{sql.memory_mb()}MB", "temp_directory": scratch,
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
