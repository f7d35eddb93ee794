"""The project's Great Expectations classes: one expectation per declared rule, and the store that brings it along.

A rule is judged on the view `rules`: one nullable BOOLEAN column per rule, true where the row breaks it, false
where it holds, NULL where it does not apply. Great Expectations counts NULL as missing, so `mostly` is a share of
the applicable rows. Only counts are ever asked of the database: no value can reach a result or a page.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from great_expectations.compatibility.pydantic import Field
from great_expectations.core.id_dict import IDDict
from great_expectations.data_context.store import ExpectationsStore
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, parse_result_format
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial
from great_expectations.expectations.registry import get_metric_kwargs
from great_expectations.render import LegacyDiagnosticRendererType, LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validator import ValidationDependencies

SEVERITIES = {"block": "阻断 block", "reject": "拒收 reject", "warn": "提示 warn"}
_WORDS = ("$zh\n$en\n适用行中至少 $at_least 必须成立 at least $at_least of applicable rows must hold"
          " · 指标 indicator $indicator · $consequence · 责任 owner $owner")


class RuleHolds(ColumnMapMetricProvider):
    """True where the row does not break the rule; many of these become one SQL query."""

    condition_metric_name = "column_values.rule_holds"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_: Any) -> Any:
        return column.is_(False)


class ExpectRuleToHold(ColumnMapExpectation):
    """Expect a declared rule to hold in at least `mostly` of the rows it applies to."""

    map_metric: ClassVar[str] = "column_values.rule_holds"
    args_keys: ClassVar[tuple[str, ...]] = ("column", "mostly")

    rule: str = Field(description="Rule id, the column of the view")
    zh: str = Field(description="What must hold, in Chinese")
    en: str = Field(description="What must hold, in English")
    indicator: str = Field(description="Indicator code of GB/T 36344-2018")
    owner: str = Field(description="Who must repair it")
    consequence: str = Field(description="block, reject or warn")
    field: str = Field(default="", description="The field it judges, Chinese and own name; empty: the row")

    def get_validation_dependencies(self, execution_engine=None, runtime_configuration=None, **kwargs):
        """The three counts only: the queries for offending values, one per rule, are never made.

        Asked anew for every metric, Great Expectations rebuilds the whole expectation each time, twelve times a rule (a third of a
        batch's judging); its own fields hold the same.
        """
        wanted = ValidationDependencies({}, parse_result_format((runtime_configuration or {}).get("result_format", "BASIC")))
        for name in (f"{self.map_metric}.unexpected_count", "column_values.nonnull.unexpected_count", "table.row_count"):
            domain, value = _metric_keys(name)
            wanted.set_metric_configuration(name, MetricConfiguration(
                name, IDDict({key: getattr(self, key, None) for key in domain}), IDDict({key: getattr(self, key, None) for key in value})))
        return wanted

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


@lru_cache
def _metric_keys(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields that tell one metric from another: those of its domain and those of its value."""
    found = get_metric_kwargs(name)
    return tuple(found["metric_domain_keys"]), tuple(found["metric_value_keys"])


class RuleSuites(ExpectationsStore):
    """The usual store of suites, named in `great_expectations.yml` by this module.

    A stored suite opens only where `ExpectRuleToHold` is registered, which importing this module does: a project
    that names this store can be opened by anyone without an import of his own.
    """


def _text(template: str, params: dict[str, str], styling: dict) -> RenderedStringTemplateContent:
    return RenderedStringTemplateContent(content_block_type="string_template", string_template={
        "template": template, "params": params, "styling": styling})
