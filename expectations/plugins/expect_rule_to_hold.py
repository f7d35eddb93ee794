"""The project's Great Expectations classes: one expectation per declared rule, and the store that brings it along.

A rule is judged on the view `rules`: one nullable BOOLEAN column per rule, true where the row breaks it, false
where it holds, NULL where it does not apply. Great Expectations counts NULL as missing, so `mostly` is a share of
the applicable rows. Only counts are ever asked of the database: no value can reach a result or a page.
"""
from __future__ import annotations

import traceback
from typing import Any, ClassVar

from great_expectations.compatibility.pydantic import Field
from great_expectations.compatibility.sqlalchemy import sqlalchemy as sa
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.data_context.store import ExpectationsStore
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.render import LegacyDiagnosticRendererType, LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer
from great_expectations.validator.exception_info import ExceptionInfo
from great_expectations.validator.metric_configuration import MetricConfiguration

BATCH = "~batch"      # column of a view over several batches: which one a row is of; no rule has such a name
METRIC = "table.rule_counts"
SEVERITIES = {"block": "阻断 block", "reject": "拒收 reject", "warn": "提示 warn"}
_WORDS = ("$zh\n$en\n适用行中至少 $at_least 必须成立 at least $at_least of applicable rows must hold"
          " · 指标 indicator $indicator · $consequence · 责任 owner $owner")


class RuleCounts(TableMetricProvider):
    """Of every column of the judged view: rows, rows the rule applies to, rows that break it; one query for all of them.

    A metric per rule would be some eighteen nodes of Great Expectations' graph each, and its graph costs more than the query. Of a view
    with a column `BATCH` it is that by batch.
    """

    metric_name = METRIC

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine: Any, metric_domain_kwargs: dict, metrics: dict[str, Any], **_: Any) -> dict[Any, Any]:
        selectable, _compute, _accessor = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
        rules, batch = [c for c in metrics["table.columns"] if c != BATCH], sa.column(BATCH)
        columns = [sa.column(rule) for rule in rules]
        wanted = [sa.func.count(), *(sa.func.count(c) for c in columns), *(sa.func.count().filter(c) for c in columns)]
        if len(rules) == len(metrics["table.columns"]):
            return _counts(rules, execution_engine.execute_query(sa.select(*wanted).select_from(selectable)).fetchone())
        found = execution_engine.execute_query(sa.select(batch, *wanted).select_from(selectable).group_by(batch)).fetchall()
        return {which: _counts(rules, counted) for which, *counted in found}

    @classmethod
    def _get_evaluation_dependencies(cls, metric: MetricConfiguration, **_: Any) -> dict[str, MetricConfiguration]:
        return {"table.columns": MetricConfiguration("table.columns", metric.metric_domain_kwargs)}


def _counts(rules: list[str], counted: Any) -> dict[str, tuple[int, int, int]]:
    rows, *each = counted
    return {rule: (rows, each[i], each[i + len(rules)]) for i, rule in enumerate(rules)}


class ExpectRuleToHold(BatchExpectation):
    """Expect a declared rule to hold in at least `mostly` of the rows it applies to."""

    metric_dependencies: ClassVar[tuple[str, ...]] = (METRIC,)
    args_keys: ClassVar[tuple[str, ...]] = ("rule", "mostly")

    mostly: float = Field(ge=0, le=1, description="Least share of applicable rows in which it must hold")
    rule: str = Field(description="Rule id, the column of the view")
    zh: str = Field(description="What must hold, in Chinese")
    en: str = Field(description="What must hold, in English")
    indicator: str = Field(description="Indicator code of GB/T 36344-2018")
    owner: str = Field(description="Who must repair it")
    consequence: str = Field(description="block, reject or warn")
    field: str = Field(default="", description="The field it judges, Chinese and own name; empty: the row")

    def _validate(self, metrics: dict, **_: Any) -> dict[str, Any]:
        rows, applicable, failed = metrics[METRIC][self.rule]
        return {"success": not applicable or (applicable - failed) / applicable >= self.mostly, "result": {
            "element_count": rows, "missing_count": rows - applicable, "unexpected_count": failed,
            "unexpected_percent": failed / applicable * 100 if applicable else None}}

    def judge(self, counts: dict[str, tuple[int, int, int]], configuration: ExpectationConfiguration) -> ExpectationValidationResult:
        """The result of one batch, from what the metric counted of it; an exception becomes a result too.

        `metrics_validate` of the base class asks every expectation anew what it depends on, which takes ten times as long as the rest.

        Args:
            configuration: its own, made once for all batches: making it takes three times as long as the rest.
        """
        try:
            return ExpectationValidationResult(expectation_config=configuration, **self._validate({METRIC: counts}))
        except Exception as error:
            return ExpectationValidationResult(success=False, expectation_config=configuration, exception_info=ExceptionInfo(
                exception_traceback=traceback.format_exc(), exception_message=str(error)))

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(cls, configuration=None, result=None, runtime_configuration=None, **_):
        rule = configuration.kwargs
        words = {key: str(rule.get(key) or "—") for key in ("zh", "en", "indicator", "owner")}
        words["at_least"] = f"{rule.get('mostly', 1) * 100:.6g} %"
        words["consequence"] = SEVERITIES.get(rule.get("consequence"), "—")
        styling = {"params": {"zh": {"classes": ["rule-zh"]}, "en": {"classes": ["rule-en"]}}}
        return [_text(_WORDS, words, styling)]

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.OBSERVED_VALUE)
    def _diagnostic_observed_value_renderer(cls, configuration=None, result=None, runtime_configuration=None, **_):
        found = result.result or {}
        if "element_count" not in found:
            return "未判定 not judged"
        applicable = found["element_count"] - found["missing_count"]
        if not applicable:
            return "无适用行 no applicable row"
        failed = found["unexpected_count"]
        hold = (applicable - failed) * 1_000_000 // applicable / 10_000  # rounded down: 100 % means every row
        return f"{hold:g} % 成立 hold<br>{failed:,} / {applicable:,} 行不成立 rows fail"

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.UNEXPECTED_STATEMENT)
    def _diagnostic_unexpected_statement_renderer(cls, configuration=None, result=None, runtime_configuration=None, **_):
        return []

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.STATUS_ICON)
    def _diagnostic_status_icon_renderer(cls, configuration=None, result=None, runtime_configuration=None, **_):
        found = result.result or {}
        if "element_count" not in found:
            word, look = "未判定 not judged", "fail"
        elif found["element_count"] == found["missing_count"]:
            word, look = "未测量 not measured", "none"
        else:
            word, look = ("达标 pass", "pass") if result.success else ("不达标 fail", "fail")
        return _text("$word", {"word": word}, {"params": {"word": {"classes": ["outcome", look]}}})


class RuleSuites(ExpectationsStore):
    """The usual store of suites, named in `great_expectations.yml` by this module.

    A stored suite opens only where `ExpectRuleToHold` is registered, which importing this module does: a project
    that names this store can be opened by anyone without an import of his own.
    """


def _text(template: str, params: dict[str, str], styling: dict) -> RenderedStringTemplateContent:
    return RenderedStringTemplateContent(content_block_type="string_template", string_template={
        "template": template, "params": params, "styling": styling})
