"""Validation evidence for people: a Great Expectations project and Data Docs per dataset.

reports/gx/<dataset>/ holds great_expectations.yml, plugins/, expectations/ (suites), validations/ (the last
`KEEP` results) and docs/ (offline pages; open docs/index.html). It opens with `gx.get_context`. It plays no part in
a verdict and may be deleted; a judged batch brings it back.
"""
from __future__ import annotations

import copy
import logging
import shutil
from pathlib import Path
from typing import Any

import yaml

from pipelines import failures
from pipelines.gate import suite as gate_suite

KEEP = 12
log = logging.getLogger(__name__)


def _files(folder: str, **options: str) -> dict[str, str]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder, **options}


_PAGE = {"module_name": "offline_docs", "class_name": "OfflinePage"}
PROJECT: dict[str, Any] = {
    "config_version": 4.0,
    "analytics_enabled": False,
    "progress_bars": {"globally": False, "metric_calculations": False},
    "plugins_directory": "plugins",
    "expectations_store_name": "expectations",
    "validation_results_store_name": "validations",
    "checkpoint_store_name": "checkpoints",
    "stores": {
        "expectations": {"class_name": "RuleSuites", "module_name": "expect_rule_to_hold",
                         "store_backend": _files("expectations", filepath_suffix=".json")},
        "validations": {"class_name": "ValidationResultsStore",
                        "store_backend": _files("validations", filepath_suffix=".json")},
        "checkpoints": {"class_name": "CheckpointStore", "store_backend": {"class_name": "InMemoryStoreBackend"}},
        "validation_definition_store": {"class_name": "ValidationDefinitionStore",
                                        "store_backend": {"class_name": "InMemoryStoreBackend"}},
    },
    "data_docs_sites": {"docs": {
        "class_name": "OfflineSite", "module_name": "offline_docs", "show_how_to_buttons": False,
        "store_backend": _files("docs"),
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder",
                               "view": {"module_name": "offline_docs", "class_name": "OfflineIndex"}},
        "site_section_builders": {"expectations": {"view": _PAGE}, "validations": {"view": _PAGE}, "profiling": "none"},
    }},
}


def publish(root: Path, suite: Any, validation: Any) -> None:
    """Store a suite and its validation result under `root` and bring the pages up to date.

    A failure is logged and not raised: the verdict stands without its pages. A torn file of a killed run is skipped
    by GX or overwritten here.
    """
    try:
        _publish(root, suite, validation)
    except Exception as error:
        log.warning("Data Docs of %s not written: %s", root.name, failures.tell(error))


def _publish(root: Path, suite: Any, validation: Any) -> None:
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

    context = _open(root)
    suites, results = context.stores["expectations"], context.stores["validations"]
    named = ExpectationSuiteIdentifier(name=suite.name)
    run = ValidationResultIdentifier(named, validation.meta["run_id"], "rules")
    suites.set(named, suite)
    results.set(run, validation)
    for old in sorted(results.list_keys(), key=lambda key: key.run_id.run_time)[:-KEEP]:
        results.remove_key(old)
    context.build_data_docs(resource_identifiers=[named, run])


def _open(root: Path) -> Any:
    """Write the project's own files and open it."""
    gx = gate_suite.great_expectations()
    from great_expectations.data_context.types.base import DataContextConfig

    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(gate_suite.PLUGINS, root / "plugins", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "great_expectations.yml").write_text(yaml.safe_dump(PROJECT, sort_keys=False), encoding="utf-8")
    rooted = copy.deepcopy(PROJECT) | {"plugins_directory": None}
    for holder in (*rooted["stores"].values(), *rooted["data_docs_sites"].values()):
        if "base_directory" in holder["store_backend"]:
            holder["store_backend"]["root_directory"] = str(root.resolve())
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**rooted))
