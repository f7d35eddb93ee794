"""Great Expectations, executing inside DuckDB: one expectation per rule, one query for all of them.

The data source is a throw-away DuckDB file holding one view over the staged masks; the context lives in memory, so
that nothing a killed run left on disk can change a verdict. The three engine settings below are what makes GX 1.24
work on DuckDB: it closes a connection before it fetches. `great_expectations` takes 3.5 s to import and is imported
only here and in `docs`, when a batch is judged. GX keeps one current context per process: do not judge in threads.
"""
from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    fresh = "great_expectations" not in sys.modules
    with warnings.catch_warnings():  # its import sends every later warning of the process to the logs
        warnings.simplefilter("ignore")
        import great_expectations as gx

    if fresh:      # its 350,000 objects are never garbage: going through them, again and again, took a tenth of judging and committing
        gc.freeze()
    return gx


def expectations(rules: list[dict[str, Any]]) -> list[Any]:
    """One expectation per planned rule, in plan order."""
    great_expectations()
    from expect_rule_to_hold import ExpectRuleToHold

    return [ExpectRuleToHold(
        rule=r["rule"], mostly=r["at_least"], severity=GX_SEVERITY[r["severity"]], zh=r["zh"],
        en=r["en"], indicator=r["indicator"], owner=r["owner"], consequence=r["severity"], field=r.get("field", "")) for r in rules]


def run(evidence: Sequence[staged.Evidence], suite_name: str, run_names: Sequence[str]) -> tuple[Any, list[Any]]:
    """Validate the staged masks of one batch, or of several at once.

    Args:
        evidence: staged rules, counts and masks, free of faults; the rules of all are the same.
        suite_name: the suite's name, `<dataset>~<source>`.
        run_names: the names of the runs, one per batch.

    Returns:
        The GX suite and one GX validation result per batch.
    """
    gx = great_expectations()
    suite = gx.ExpectationSuite(name=suite_name, expectations=expectations(evidence[0].rules))
    with tempfile.TemporaryDirectory(prefix=".gate-", dir=evidence[0].masks.parent) as scratch, _validator(evidence, Path(scratch)) as validator:
        counted, judged = _counted(validator), [(one, one.configuration) for one in suite.expectations]
        for _, configuration in judged:
            configuration.kwargs["batch_id"] = validator.active_batch_id
        return suite, [_validation(suite, judged, validator, counted, number if len(evidence) > 1 else None, named) for number, named in enumerate(run_names)]


@contextmanager
def _validator(evidence: Sequence[staged.Evidence], scratch: Path) -> Iterator[Any]:
    """Great Expectations over the view of the masks, in a database of its own."""
    gx = great_expectations()
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig
    from sqlalchemy.pool import StaticPool

    database = scratch / "gate.duckdb"
    with sql.connect(database) as con:
        con.execute(staged.view(*evidence))
    context = gx.get_context(mode="ephemeral", project_config=DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False)))
    source = context.data_sources.add_sql("staged", connection_string=f"duckdb:///{database}", kwargs=ENGINE | {
        "poolclass": StaticPool, "connect_args": {"config": _limits(str(scratch))}})
    try:
        rows = source.add_table_asset("rules", table_name="rules").add_batch_definition_whole_table("all")
        yield context.get_validator(batch_request=rows.build_batch_request())
    finally:
        source.get_execution_engine().engine.dispose()


def _counted(validator: Any) -> Any:
    """What Great Expectations counts of the view, or what it says where it cannot.

    The metric is computed once, not asked for by every expectation: their graph took ten times as long as the query.
    """
    from expect_rule_to_hold import METRIC
    from great_expectations.validator.exception_info import ExceptionInfo
    from great_expectations.validator.metric_configuration import MetricConfiguration

    metric = MetricConfiguration(METRIC, {"batch_id": validator.active_batch_id})
    try:
        found, failed = validator.metrics_calculator.compute_metrics([metric])
        return found[metric.id] if metric.id in found else ExceptionInfo("", str(failed))
    except Exception as error:
        return ExceptionInfo("", str(error))


def _validation(suite: Any, judged: list[tuple[Any, Any]], validator: Any, counted: Any, batch: int | None, run_name: str) -> Any:
    """The validation result of one batch.

    Args:
        judged: the expectations of the suite and the configuration of each.
        counted: from `_counted`.
        batch: the number of the batch in the view, None where the view is of one batch.
    """
    from great_expectations import __version__ as version
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.util import convert_to_json_serializable
    from great_expectations.validator.exception_info import ExceptionInfo
    from great_expectations.validator.validator import calc_validation_statistics

    if isinstance(counted, ExceptionInfo):
        results = [ExpectationValidationResult(success=False, expectation_config=configuration, exception_info=counted) for _, configuration in judged]
    else:
        results = [e.judge(counted if batch is None else counted.get(batch, {}), configuration) for e, configuration in judged]
    run_id, statistics = RunIdentifier(run_name=run_name), calc_validation_statistics(results)
    meta = {"great_expectations_version": version, "batch_spec": convert_to_json_serializable(validator.active_batch_spec),
            "batch_markers": validator.active_batch_markers, "active_batch_definition": convert_to_json_serializable(validator.active_batch_definition),
            "run_id": run_id, "validation_time": run_id.run_time, "batch_parameters": None, "checkpoint_id": None}
    return ExpectationSuiteValidationResult(
        results=results, success=statistics.success, suite_name=suite.name, meta=meta, batch_id=validator.active_batch_id,
        statistics={key: getattr(statistics, key) for key in ("evaluated_expectations", "successful_expectations", "unsuccessful_expectations", "success_percent")})


def unfinished(validation: Any) -> bool:
    """Whether an exception was raised while a batch was validated."""
    return any(_raised(one.exception_info) for one in validation.results)


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
