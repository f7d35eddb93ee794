"""Data Docs that open without a network: the usual site with this folder's page shells and no outside asset.

Great Expectations' own shells load some sixteen assets from CDNs and an image whose address carries a time stamp
and the context id; those in `custom_data_docs/views/` replace them (its template loader prefers its own files, so
a folder alone cannot: the view puts this one first).
"""
from __future__ import annotations

from pathlib import Path

from great_expectations.render.renderer.site_builder import SiteBuilder
from great_expectations.render.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

VIEWS = Path(__file__).resolve().parent / "custom_data_docs" / "views"


class OfflineSite(SiteBuilder):
    """Builds pages and index, and copies no fonts and images: no page asks for them."""

    def build(self, resource_identifiers=None, build_index: bool = True):
        for section in self.site_section_builders.values():
            section.build(resource_identifiers=resource_identifiers)
        _, links = self.site_index_builder.build(build_index=build_index)
        return self.get_resource_url(only_if_exists=False), links


class _Offline:
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.env.loader = ChoiceLoader([FileSystemLoader(VIEWS), self.env.loader])


class OfflinePage(_Offline, DefaultJinjaPageView):
    """A suite or a validation result."""


class OfflineIndex(_Offline, DefaultJinjaIndexPageView):
    """The list of suites and results."""
