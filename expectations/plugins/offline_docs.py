"""Data Docs that open without a network, Chinese first, grouped by the field a rule judges.

Great Expectations' own shells load some sixteen assets from CDNs and an image whose address carries a time stamp
and the context id; those in `custom_data_docs/views/` replace them (its template loader prefers its own files, so
a folder alone cannot: the view puts this one first). Its own pages group by the column of the judged view, which is a rule.
"""
from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from great_expectations.render import RenderedHeaderContent, RenderedSectionContent, RenderedStringTemplateContent, RenderedTableContent, TextContent
from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
from great_expectations.render.renderer.column_section_renderer import ExpectationSuiteColumnSectionRenderer, ValidationResultsColumnSectionRenderer
from great_expectations.render.renderer.site_builder import SiteBuilder
from great_expectations.render.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import BytecodeCache, ChoiceLoader, FileSystemLoader

VIEWS = Path(__file__).resolve().parent / "custom_data_docs" / "views"
ACROSS = "整行与跨字段 The row and its fields together"
_STATISTICS = {"evaluated_expectations": "规则数 Rules", "successful_expectations": "达标或未测量 Pass or not measured",
               "unsuccessful_expectations": "不达标 Fail"}


class OfflineSite(SiteBuilder):
    """Builds pages and index, and copies no fonts and images: no page asks for them."""

    def build(self, resource_identifiers=None, build_index: bool = True):
        for section in self.site_section_builders.values():
            section.build(resource_identifiers=resource_identifiers)
        _, links = self.site_index_builder.build(build_index=build_index)
        return self.get_resource_url(only_if_exists=False), links


class _Compiled(BytecodeCache):
    """Compiled templates of this process: every view has an environment of its own, which would compile them all again."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def load_bytecode(self, bucket):
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])

    def dump_bytecode(self, bucket):
        self.known[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class _Offline:
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([FileSystemLoader(VIEWS), self.env.loader])
        self.env.bytecode_cache = _COMPILED


class OfflinePage(_Offline, DefaultJinjaPageView):
    """A suite or a validation result."""


class OfflineIndex(_Offline, DefaultJinjaIndexPageView):
    """The list of suites and results."""


def compile_templates() -> None:
    """Compile every template of the pages now, for processes that are forked from this one."""
    for view in (OfflinePage(), OfflineIndex()):
        for template in view.env.list_templates(extensions=["j2"]):
            view.env.get_template(template)


class _Field:
    """Calls a section by the field its rules judge."""

    @classmethod
    def _get_column_name(cls, ge_object: Any) -> str:
        first = ge_object[0] if isinstance(ge_object, list) else ge_object
        return _field(getattr(first, "expectation_config", first))


class FieldResults(_Field, ValidationResultsColumnSectionRenderer):
    """The results of one field."""


class FieldRules(_Field, ExpectationSuiteColumnSectionRenderer):
    """The rules of one field."""


class ResultsByField(ValidationResultsPageRenderer):
    """A validation result: the count of rules, then field by field, in the order of the contract."""

    def __init__(self, **options: Any) -> None:
        super().__init__(column_section_renderer={"module_name": __name__, "class_name": "FieldResults"}, **options)

    def _group_evrs_by_column_with_suite_meta(self, validation_results: Any, expectation_suite_name: str) -> dict[str, list]:
        return _by_field(validation_results.results, lambda result: result.expectation_config)

    def _collect_rendered_document_content_sections(self, validation_results, overview_content_blocks, collapse_content_blocks, columns):
        return [RenderedSectionContent(section_name="概况 Overview", content_blocks=overview_content_blocks),
                *(self._column_section_renderer.render(validation_results=found) for found in columns.values())]

    def _generate_collapse_content_block(self, collapse_content_blocks, validation_results):
        return super()._render_validation_info(validation_results)      # all that is in the usual folded block besides what quotes the data source

    @classmethod
    def _render_validation_header(cls, validation_results):
        name = validation_results.suite_name
        up = "../" * (len(name.split(".")) + 3)
        return _header("概况 Overview", "规则集 Suite: ${suite}", {"suite": name}, {"params": {"suite": {
            "tag": "a", "attributes": {"href": f"{up}expectations/{name.replace('.', '/')}.html"}}}})

    @classmethod
    def _render_validation_statistics(cls, validation_results):
        found = validation_results.statistics
        return RenderedTableContent(content_block_type="table", table=[[words, found[key]] for key, words in _STATISTICS.items()])


class SuiteByField(ExpectationSuitePageRenderer):
    """A suite: its rules in words, field by field."""

    def __init__(self, **options: Any) -> None:
        super().__init__(column_section_renderer={"module_name": __name__, "class_name": "FieldRules"}, **options)

    @staticmethod
    def _get_grouped_and_ordered_expectations_by_column(expectation_suite):
        grouped = _by_field([e.configuration for e in expectation_suite.expectations], lambda configuration: configuration)
        return grouped, list(grouped)

    @classmethod
    def _render_expectation_suite_header(cls):
        return _header("概况 Overview")

    @classmethod
    def _render_expectation_suite_notes(cls, expectations):
        fields = {_field(e.configuration) for e in expectations.expectations} - {ACROSS}
        return TextContent(content_block_type="text", text=[f"{len(expectations.expectations)} 条规则，涉及 {len(fields)} 个字段。"
                                                            f"{len(expectations.expectations)} rules over {len(fields)} fields."])


def _by_field(found: list, configuration: Any) -> dict[str, list]:
    """Grouped by field in the order of their first rule; rules of the row come last."""
    grouped: dict[str, list] = defaultdict(list)
    for one in found:
        grouped[_field(configuration(one))].append(one)
    return {**{field: rules for field, rules in grouped.items() if field != ACROSS}, **({ACROSS: grouped[ACROSS]} if ACROSS in grouped else {})}


def _field(configuration: Any) -> str:
    return configuration.kwargs.get("field") or ACROSS


def _header(words: str, below: str = "", params: dict[str, str] | None = None, styling: dict | None = None) -> RenderedHeaderContent:
    def text(template: str, **more: Any) -> RenderedStringTemplateContent:
        return RenderedStringTemplateContent(content_block_type="string_template", string_template={"template": template, **more})

    return RenderedHeaderContent(content_block_type="header", header=text(words, tag="h5"),
                                 subheader=text(below, params=params or {}, styling=styling or {}) if below else None)
