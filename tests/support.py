"""What tests share: an independent identifier oracle, temporary projects and lakes, and a small thirteenth dataset."""
from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines import catalogue, gate, ledger, pages, site
from pipelines.desk import Desk
from pipelines.settings import Lake, Project

REPOSITORY = Path(__file__).resolve().parent.parent
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)

RESIDENCE = """
apiVersion: v3.1.0
kind: DataContract
id: population.residence
name: 流动人口居住登记
version: 1.0.0
status: active
domain: population
description: {purpose: 流动人口居住登记，一人一行。Residence registrations., usage: 依法履职。Legal duties., limitations: 试验数据。Trial data.}
slaProperties: [{property: frequency, value: 1, unit: month}]
customProperties:
  - {property: catalogue, value: {category: 101001/13, share_class: 有条件共享, share_mode: 批量交换, grade: 3, share_condition: 依法履职}}
servers:
  - server: police
    type: local
    format: csv
    path: inbox/population.residence/police
    encoding: utf-8
    customProperties: [{property: department, value: 公安局}, {property: uscc, value: 11640000MB1Y00011H}, {property: part_pattern, value: '(64\\d{4})'}]
  - server: grid
    type: local
    format: csv
    path: inbox/population.residence/grid
    encoding: utf-8
    customProperties: [{property: department, value: 网格中心}, {property: uscc, value: 11640000MB1Y00011H}, {property: part_pattern, value: '(64\\d{4})'}]
schema:
  - name: residence
    businessName: 居住登记
    description: 一人一行。One row per person.
    customProperties:
      - {property: load, value: LOAD}
      - {property: identity, value: [name, birth_date]}
      - {property: region, value: region_code}
      - {property: op, value: [操作]}
      - {property: loss_budget, value: 0.5}
    properties:
      - {name: id_number, businessName: 公民身份号码, description: Citizen identity number, semanticType: resident_id, classification: personal, primaryKey: true, customProperties: [{property: at_least, value: 0.2}]}
      - {name: name, businessName: 姓名, description: Name, semanticType: person_name, classification: personal, required: true, customProperties: [{property: at_least, value: 0.2}]}
      - {name: birth_date, businessName: 出生日期, description: Date of birth, semanticType: date, classification: personal, transformSourceObjects: [csrq]}
      - {name: region_code, businessName: 居住地区划, description: Division of residence, semanticType: region_code, classification: internal}
      - {name: status, businessName: 状态, description: State, semanticType: text, classification: internal}
"""
HEADER = ("公民身份号码", "姓名", "csrq", "居住地区划", "状态", "操作")


def check_character(first17: str) -> str:
    """GB 11643 check character, written apart from the product's SQL."""
    return "10X98765432"[sum(int(d) * w for d, w in zip(first17, _WEIGHTS)) % 11]


def resident_id(number: int, region: str = "640104", birth: str = "19900101") -> str:
    """A synthetic valid number; `number` 1–999 makes it distinct within one region and birth date."""
    first = f"{region}{birth}{number:03d}"
    return first + check_character(first)


def project(root: Path, **contracts: str) -> Project:
    """A project with the repository's macros, code lists and governance views and only these contracts (`domain__dataset=YAML`)."""
    for part in ("macros", "reference"):
        (root / "warehouse").mkdir(parents=True, exist_ok=True)
        (root / "warehouse" / part).symlink_to(REPOSITORY / "warehouse" / part)
    (root / "warehouse" / "views").mkdir()
    (root / "warehouse" / "views" / "governance").symlink_to(REPOSITORY / "warehouse" / "views" / "governance")
    (root / "expectations").mkdir()
    for name, text in contracts.items():
        domain, _, dataset = name.partition("__")
        path = root / "warehouse" / "contracts" / domain / f"{dataset}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Project(root)


def small_project(root: Path, **contracts: str) -> Project:
    """`project` with only the code lists that the program, identifiers and these contracts read: staging and releasing all of them takes half as long again.

    For tests of what becomes of rows; the whole lists go the whole way in the sample, in Airflow, in the store and through backup and verification.
    """
    made = project(root, **contracts)
    wanted = {"admin_division", "admin_division_obsolete", "region_change", "stat_only_unit", "country", "quality_indicator", "legal_deadline"}
    wanted |= {one for text in contracts.values() for one in re.findall(r"\bcode\((\w+)\)", text)}
    lists = yaml.safe_load((made.reference / "lists.yaml").read_text("utf-8"))
    dropped = {one["file"] for one in lists if one["list"] not in wanted} | {"lists.yaml"}
    keep_only(made.reference, [file.name for file in made.reference.iterdir() if file.name not in dropped])
    lists = [one for one in lists if one["list"] in wanted]
    (made.reference / "lists.yaml").write_text(yaml.safe_dump(lists, allow_unicode=True), "utf-8")
    return made


def keep_only(folder: Path, files: list[str]) -> None:
    """A link to a folder of the repository becomes a folder with links to these files of it."""
    source = folder.resolve()
    folder.unlink()
    folder.mkdir()
    for file in files:
        (folder / file).symlink_to(source / file)


def desk(root: Path, made: Project | None = None) -> Desk:
    """A desk over a new lake under `root`."""
    return Desk(made or Project(REPOSITORY), Lake.open(root / "lake"))


def open_gate(patch: pytest.MonkeyPatch) -> None:
    """Every batch passes and no page is written: for tests about something else, because asking the gate takes half a second."""
    patch.setattr(gate, "judge_some", lambda _, batches: [gate.Verdict("accept", [], []) for _ in batches])
    patch.setattr(pages, "write", lambda *_: None)
    patch.setattr(site, "build", lambda *_: None)


class Kept:
    """A lake that was made once, for tests that each change it: `again` puts it back as it was, at its own path."""

    def __init__(self, at: Desk):
        self.at, self._copy = at, at.lake.home.with_name("kept")
        shutil.copytree(at.lake.home, self._copy, symlinks=True)
        keep_catalogue(at.lake, self._copy.with_suffix(".db"))

    def again(self) -> Desk:
        shutil.rmtree(self.at.lake.home, ignore_errors=True)
        forget_databases()
        shutil.copytree(self._copy, self.at.lake.home, symlinks=True)
        made = Desk(self.at.project, Lake(self.at.lake.home))
        put_back_catalogue(made.lake, self._copy.with_suffix(".db"))
        return made


def keep_catalogue(lake: Lake, file: Path) -> None:
    """Keep the rows of a catalogue that is not among the lake's files."""
    if lake.catalogue == catalogue.POSTGRESQL:
        catalogue.copy(catalogue.engine(lake), catalogue.sqlite(file))


def put_back_catalogue(lake: Lake, file: Path) -> None:
    """What `keep_catalogue` kept takes the place of what there is now."""
    if lake.catalogue == catalogue.POSTGRESQL:
        catalogue.copy(catalogue.sqlite(file), catalogue.engine(lake))


def forget_databases() -> None:
    """Connections to a database file that was removed and made again would go on with the removed one."""
    for cache in (catalogue._engine, catalogue._iceberg, ledger._prepared):
        cache.cache_clear()


def write_csv(path: Path, header: tuple[str, ...], rows: list[tuple], encoding: str = "utf-8") -> Path:
    """A plain CSV file as a department would send it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path
