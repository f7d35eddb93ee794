"""Validation evidence for people: a Great Expectations project and Data Docs per dataset.

reports/gx/<dataset>/ holds great_expectations.yml, plugins/, expectations/ (suites), checkpoints/ with their
validation_definitions/, judged/ (per source what its newest batch was judged on: rules by record, no values), validations/
(the last `KEEP` results) and docs/ (offline pages; open docs/index.html). It opens with `gx.get_context`, and its
checkpoints run there. It plays no part in a verdict and may be deleted; a judged batch brings it back.
"""
from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipelines import durable, failures, sql
from pipelines.gate import staged, suite as gate_suite

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
        "checkpoints": {"class_name": "CheckpointStore", "store_backend": _files("checkpoints", filepath_suffix=".json")},
        "validation_definition_store": {"class_name": "ValidationDefinitionStore",
                                        "store_backend": _files("validation_definitions", filepath_suffix=".json")},
    },
    "data_docs_sites": {"docs": {
        "class_name": "OfflineSite", "module_name": "offline_docs", "show_how_to_buttons": False,
        "store_backend": _files("docs"),
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder",
                               "view": {"module_name": "offline_docs", "class_name": "OfflineIndex"}},
        "site_section_builders": {
            "expectations": {"view": _PAGE, "renderer": {"module_name": "offline_docs", "class_name": "SuiteByField"}},
            "validations": {"view": _PAGE, "renderer": {"module_name": "offline_docs", "class_name": "ResultsByField"}}, "profiling": "none"},
    }},
}


def publish(root: Path, suite: Any, judged: Sequence[tuple[Any, staged.Evidence]]) -> None:
    """Store a suite, its checkpoint and validation results under `root` and bring the pages up to date.

    Args:
        judged: validation results and what they were judged on, the newest last.

    A failure is logged and not raised: the verdict stands without its pages. A torn file of a killed run is skipped
    by GX or overwritten here.
    """
    try:
        _publish(root, suite, judged)
    except Exception as error:
        log.warning("Data Docs of %s not written: %s", root.name, failures.tell(error))


def _publish(root: Path, suite: Any, judged: Sequence[tuple[Any, staged.Evidence]]) -> None:
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

    _keep_judged(root, suite.name, judged[-1][1])
    context = _open(root)
    suites, results = context.stores["expectations"], context.stores["validations"]
    named = ExpectationSuiteIdentifier(name=suite.name)
    runs = [ValidationResultIdentifier(named, validation.meta["run_id"], "rules") for validation, _ in judged]
    suite.id = _id("suite", suite.name)
    suites.set(named, suite)
    for run, (validation, _) in zip(runs, judged):
        results.set(run, validation)
    for old in sorted(results.list_keys(), key=lambda key: key.run_id.run_time)[:-KEEP]:
        results.remove_key(old)
    context.build_data_docs(resource_identifiers=[named, *runs])


def _keep_judged(root: Path, suite_name: str, evidence: staged.Evidence) -> None:
    """What the checkpoint of a suite runs on: the masks of its newest batch, linked, and the view over them; and the checkpoint itself."""
    judged, source = root / "judged", suite_name.rpartition("~")[2]
    judged.mkdir(parents=True, exist_ok=True)
    masks, database = judged / f"{source}.parquet", judged / f"{source}.duckdb"
    beside = masks.with_suffix(".part")
    beside.unlink(missing_ok=True)
    os.link(evidence.masks, beside)
    os.replace(beside, masks)
    beside = database.with_suffix(".part")
    beside.unlink(missing_ok=True)
    with sql.connect(beside) as con:
        con.execute(staged.view(replace(evidence, masks=masks)))
    os.replace(beside, database)
    data = {"datasource": {"name": source, "id": _id("datasource", source)}, "asset": {"name": "rules", "id": _id("asset", source)},
            "batch_definition": {"name": "newest", "id": _id("batch", source)}}
    definition = {"name": suite_name, "id": _id("definition", suite_name), "data": data, "suite": {"name": suite_name, "id": _id("suite", suite_name)}}
    checkpoint = {"name": suite_name, "id": _id("checkpoint", suite_name), "actions": [], "result_format": gate_suite.COUNTS_ONLY,
                  "validation_definitions": [{"name": suite_name, "id": definition["id"]}]}
    for folder, content in (("validation_definitions", definition), ("checkpoints", checkpoint)):
        durable.make_folders(root / folder, root)
        durable.write(root / folder / f"{suite_name}.json", json.dumps(content, ensure_ascii=False, indent=1))


def _id(kind: str, name: str) -> str:
    """The same name gives the same id: a stored checkpoint goes on fitting its suite."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}:{name}"))


def _sources(root: Path) -> dict[str, Any]:
    """The data sources of the project: one per source of the dataset, opened read-only."""
    return {one.stem: {
        "type": "sql", "id": _id("datasource", one.stem), "connection_string": f"duckdb:///{one.resolve()}",
        "kwargs": gate_suite.ENGINE | {"connect_args": {"read_only": True}},
        "assets": {"rules": {"type": "table", "id": _id("asset", one.stem), "table_name": "rules", "batch_definitions": {
            "newest": {"id": _id("batch", one.stem), "partitioner": None}}}}} for one in sorted((root / "judged").glob("*.duckdb"))}


def _open(root: Path) -> Any:
    """Write the project's own files and open it."""
    gx = gate_suite.great_expectations()
    from great_expectations.data_context.types.base import DataContextConfig

    shutil.copytree(gate_suite.PLUGINS, root / "plugins", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    durable.write(root / "great_expectations.yml", yaml.safe_dump(PROJECT | {"fluent_datasources": _sources(root)}, sort_keys=False))
    rooted = copy.deepcopy(PROJECT) | {"plugins_directory": None}
    for holder in (*rooted["stores"].values(), *rooted["data_docs_sites"].values()):
        holder["store_backend"]["root_directory"] = str(root.resolve())
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**rooted))
