"""One planted defect per business rule: the cell that breaks it, and which other rules rightly see the same row.

A rule without a breach here is not known to find anything: a test asks for one per rule of every dataset. Ids are those of
the dirt catalogue; `BR` (business rule) where the catalogue has none. Rules of the checks across datasets are not here.
"""
from __future__ import annotations

from dataclasses import dataclass

RATE = 0.0004
OUTSIDE = "BR"      # a breach the dirt catalogue has no id for


@dataclass(frozen=True)
class Breach:
    """A defect that breaks one business rule.

    `sent` and `when` are the SQL templates of `plants.Defect`; `fills` puts a value into an
    empty one. `also`: other rules that see it. At least one row is planted where the submission is large enough.
    """

    dataset: str
    column: str
    rule: str
    sent: str
    when: str = "true"
    id: str = OUTSIDE
    rate: float = RATE
    also: tuple[str, ...] = ()
    severity: str = "warn"
    fills: bool = False


def _breaches(dataset: str, *rows: tuple) -> list[Breach]:
    return [Breach(dataset, *row[:3], **(row[3] if len(row) > 3 else {})) for row in rows]


def _empty(when: str = "true") -> tuple[str, dict]:
    return "''", {"when": when, "id": "X10"}


def _early(rate: float = RATE, **more: object) -> dict:
    return {"id": "X13", "rate": rate, **more}


PASSPORT = "'E12345678'"
OTHER_ORG = "org_code_of('MA6' || substr({v}, 4, 5))"
ANY_USCC = "uscc_of('91640104' || org_code_of('MA6' || lpad(({h} % 99999)::varchar, 5, '0')))"
COMPANY_CODE = "uscc_of('91' || substr({v}, 3, 15))"
SOCIETY_CODE = "uscc_of('52' || substr({v}, 3, 15))"
OTHER_TOWNSHIP = "if(substr({v}, 1, 6) = '640104', '640105001', '640104001')"
LIVING, DEAD = "cancel_flag = '0'", "cancel_flag = '1'"

PERSON = _breaches(
    "population.person",
    ("birth_date", "birth_date_agrees_with_id", "({v}::date + 1 + ({h} % 300)::integer)::varchar",
     {"id": "X08", "rate": 0.004, "severity": "reject", "when": "{v} < '2010-01-01'"}),
    ("sex_code", "sex_agrees_with_id", "if({v} = '1', '2', '1')",
     {"id": "X09", "rate": 0.003, "severity": "reject", "also": ("spouse_relation_agrees_with_sex", "kin_relation_agrees_with_sex")}),
    ("death_date", "death_not_before_birth", "day_before(birth_date)", _early(when=DEAD, also=("death_cancelled_within_month",))),
    ("moveout_date", "moveout_not_before_birth", "day_before(birth_date)", _early(when=DEAD, fills=True, also=("moveout_has_type",))),
    ("cancel_date", "cancel_not_before_birth", "day_before(birth_date)", _early(when=DEAD, also=("cancel_not_before_death",))),
    ("cancel_flag", "cancelled_has_date", "'1'", {"when": "{v} = '0'"}),
    ("id_type", "id_type_agrees_with_number", "'414'"),
    ("township_code", "township_in_county", OTHER_TOWNSHIP, {"id": "X18", "also": ("committee_in_township",)}),
    ("committee_code", "committee_in_township", "substr({v}, 1, 6) || '009' || substr({v}, 10)", {"id": "X18"}),
    ("relation_to_head", "spouse_relation_agrees_with_sex", "if({v} = '11', '12', '11')", {"when": "{v} in ('11', '12')"}),
    ("cancel_date", "cancel_date_has_flag", "substr(source_updated_at, 1, 10)", {"when": LIVING, "fills": True}),
    ("death_date", "dead_is_cancelled", "substr(source_updated_at, 1, 10)", {"when": LIVING, "fills": True}),
    ("cancel_date", "cancel_not_before_death", "day_before(death_date)", _early(when=DEAD)),
    ("death_date", "death_cancelled_within_month", "({v}::date - 60)::varchar", _early(when="birth_date::date < {v}::date - 60")),
    ("death_cancel_type", "death_has_cancel_type", *_empty()),
    ("moveout_date", "moveout_has_type", "death_date", {"when": DEAD, "fills": True, "id": "X10"}),
    ("moveout_date", "moved_out_is_cancelled", "substr(source_updated_at, 1, 10)", {"when": LIVING, "fills": True, "also": ("moveout_has_type",)}),
    ("source_updated_at", "updated_not_before_birth", "day_before(birth_date) || ' 00:00:00'", _early(when=LIVING)),
    ("source_updated_at", "updated_not_before_cancel", "day_before(cancel_date) || ' 00:00:00'", _early(when=DEAD)),
    ("source_updated_at", "updated_not_after_batch", "(getvariable('batch') + 5)::date::varchar || ' 08:00:00'", _early()),
    ("hukou_region_code", "hukou_region_is_county", "substr({v}, 1, 4) || '00'", {"also": ("township_in_county", "police_station_in_county")}),
    ("police_station_code", "police_station_in_county", "'649999' || substr({v}, 7)", {"id": "X18"}),
    ("hukou_address", "address_names_region", "other_city({v})", {"id": "X18", "rate": 0.003, "when": "{v} <> other_city({v})"}),
    ("township_code", "township_part_assigned", "substr({v}, 1, 6) || '000'", {"also": ("committee_in_township",)}),
    ("committee_code", "committee_part_assigned", "substr({v}, 1, 9) || '000'"),
    ("marital_code", "married_is_adult", "'20'", {"when": "birth_date::date > child_born()"}),
    ("political_code", "political_status_fits_age", "'01'", {"when": "birth_date::date > child_born()"}),
    ("military_status", "military_service_fits_age", "'1'", {"when": "birth_date::date > child_born()"}),
    ("education_code", "education_fits_age", "'20'", {"when": "birth_date::date > child_born()", "fills": True}),
    ("relation_to_head", "kin_relation_agrees_with_sex", "if({v} = '20', '30', '20')", {"when": "{v} in ('20', '30')"}),
    ("former_name", "former_name_differs", "name"),
    ("household_no", "active_person_has_household", *_empty(LIVING)),
    ("photo_ref", "adult_has_photo", *_empty(f"{LIVING} and birth_date < '2000-01-01'")),
)
MEMBER = _breaches(
    "population.household_member",
    ("relation_code", "household_has_one_head", "'79'", {"id": "X31", "rate": 0.002, "when": "{v} = '02'"}),
    ("relation_code", "household_has_one_spouse_of_head", "if({v} = '20', '11', '12')", {
        "id": "X31", "when": "leave_date is null and {v} in ('20', '30') and "
        "count(*) filter (where relation_code in ('11', '12') and leave_date is null) over (partition by household_no) = 1"}),
    ("leave_date", "leave_not_before_join", "day_before(join_date)", _early()),
    ("join_date", "join_not_before_birth", "day_before(born(id_number))", _early(when="leave_date is null")),
    ("relation_code", "spouse_relation_agrees_with_id", "if({v} = '11', '12', '11')", {"when": "{v} in ('11', '12')"}),
    ("relation_code", "kin_relation_agrees_with_id", "if({v} = '20', '30', '20')", {"when": "{v} in ('20', '30')"}),
)
DEATH = _breaches(
    "population.death",
    ("death_date", "death_not_before_birth", "day_before(born(id_number))", _early(severity="reject", also=("registered_within_month",))),
    ("registered_date", "registered_not_before_death", "day_before(death_date)", _early()),
    ("registered_date", "registered_within_month", "(death_date::date + 45)::varchar", _early(when="death_date::date < getvariable('batch') - 50")),
    ("cremation_date", "cremation_not_before_death", "day_before(death_date)", _early()),
    ("cremation_date", "cremation_record_has_date", *_empty()),
    ("certificate_no", "certificate_given", *_empty("source_kind = 'health'")),
    ("cause_code", "cause_is_icd10", "'心梗'", {"id": "X16"}),
    ("cause_code", "cause_given", *_empty()),
    ("cause_code", "cause_fits_sex", "if(is_male(id_number), 'C53.9', 'C61')"),
    ("id_number", "age_at_death_within_120", "resident_id_of(substr({v}, 1, 6), date '1870-01-01' + ({h} % 3000)::integer, 1)"),
)
INSURANCE = _breaches(
    "population.social_insurance",
    ("end_ym", "start_not_after_end", "months_after(start_ym, -1)", _early()),
    ("first_ym", "first_not_after_start", "months_after(start_ym, 1)", _early()),
    ("start_ym", "start_not_after_batch", "months_after(getvariable('batch')::varchar, 2)", _early(severity="reject", when="status_code <> '4'")),
    ("start_ym", "start_not_before_birth", "months_after(born(id_number), -1)", _early(when="insurance_type = '31'", also=("first_not_after_start",))),
    ("start_ym", "staff_started_at_16", "months_after(born(id_number), 120)", _early(when="insurance_type = '11'", also=("first_not_after_start",))),
    ("end_ym", "ended_has_end_month", *_empty("status_code = '4'")),
    ("status_code", "insured_has_not_ended", "'1'", {"when": "{v} = '4' and end_ym < strftime(getvariable('batch'), '%Y-%m')"}),
    ("end_ym", "end_not_after_batch", "months_after(getvariable('batch')::varchar, 3)", _early(when="status_code = '4'")),
    ("employer_uscc", "staff_have_employer", *_empty("person_type = '企业职工'")),
)
BENEFIT = _breaches(
    "population.benefit_payment",
    ("amount", "amount_positive", "'0'", {"severity": "reject"}),
    ("amount", "amount_in_yuan", "printf('%.4f', {v}::double / 10000)", {"id": "X24", "rate": 0.005}),
    ("fee_period", "period_not_after_batch", "months_after(getvariable('batch')::varchar, 2)", _early(severity="reject")),
    ("fee_period", "period_not_before_birth", "months_after(born(id_number), -1)", _early(also=("pensioner_is_45",))),
    ("fee_period", "pensioner_is_45", "months_after(born(id_number), 360)", _early()),
    ("bank_last4", "bank_last4_is_four_digits", "{v} || '1'", {"id": "X07"}),
)
ENTERPRISE = _breaches(
    "legal_entity.enterprise",
    ("term_to", "term_from_not_after_term_to", "(year({v}::date) - 60) || substr({v}, 5, 4) || '01'", _early(0.002)),
    ("paid_capital", "capital_in_one_unit", "{v} || '0000'", {"id": "X24", "rate": 0.005, "also": ("paid_within_registered_capital",)}),
    ("org_code", "org_code_agrees_with_uscc", OTHER_ORG),
    ("entity_type_code", "entity_type_agrees_with_uscc", "'9500'", {"when": "left(uscc, 2) = '91'"}),
    ("approve_date", "establish_not_after_approval", "day_before(establish_date)", _early()),
    ("status_date", "closed_has_status_date", *_empty("status_code in ('2', '3', '4', '5')")),
    ("status_code", "active_has_no_status_date", "'1'", {"when": "{v} <> '1' and status_date is not null"}),
    ("status_date", "status_date_not_before_establish", "day_before(establish_date)", _early()),
    ("paid_capital", "paid_within_registered_capital", "(reg_capital::integer + 10)::varchar"),
    ("township_code", "township_in_region", OTHER_TOWNSHIP, {"id": "X18"}),
    ("industry_code", "industry_code_agrees_with_section", "if(industry_section = 'F', '1340', '5211')", {"id": "X18"}),
    ("industry_code", "industry_code_known", "'9911'", {"id": "X16", "also": ("industry_code_agrees_with_section",)}),
    ("legal_rep_id_number", "legal_rep_document_is_resident_id", PASSPORT),
    ("uscc", "code_assigned_by_market_regulation", SOCIETY_CODE),
    ("reg_no", "reg_no_agrees_with_kind", "reg_no_of(substr({v}, 1, 6) || if(substr({v}, 7, 1) >= '6', '2', '6') || substr({v}, 8, 7))",
     {"when": "left(uscc, 2) in ('91', '92')"}),
    ("name", "name_states_legal_form", "replace({v}, '公司', '商行')", {"when": "left(uscc, 2) = '91'"}),
    ("term_from", "term_from_not_before_establish", "day_before(establish_date)", _early()),
    ("legal_rep_id_number", "legal_rep_is_16", "resident_id_of(substr({v}, 1, 6), ten_years_ago(), 1)", {"when": "status_code = '1'"}),
    ("reg_capital", "company_has_capital", *_empty("left(uscc, 2) = '91'")),
    ("reg_capital_currency", "capital_has_currency", *_empty()),
    ("employee_count", "employee_count_not_negative", "'-3'"),
    ("region_code", "region_is_county", "substr({v}, 1, 4) || '00'", {"also": ("township_in_region",)}),
    ("address", "address_names_region", "other_city({v})", {"id": "X18", "rate": 0.003, "when": "{v} <> other_city({v})"}),
    ("reg_org", "reg_org_names_its_region", "'吴忠市利通区市场监督管理局'", {"id": "X18", "when": "reg_org_region <> '640302'"}),
    ("township_code", "township_part_assigned", "substr({v}, 1, 6) || '000'"),
    ("postal_code", "postal_code_in_province", "'100010'", {"id": "X18"}),
    ("email", "email_has_domain", "replace({v}, '@', '')"),
    ("former_names", "former_names_differ", "name"),
)
KEY_PERSON = _breaches(
    "legal_entity.key_person",
    ("is_legal_rep", "enterprise_has_one_legal_rep", "'0'", {"id": "X31", "rate": 0.002, "when": "{v} = '1'"}),
    ("end_date", "start_not_after_end", "day_before(start_date)", _early(when="is_legal_rep = '0'", fills=True)),
    ("start_date", "start_not_before_birth", "day_before(born(id_number))", _early()),
    ("id_number", "document_is_resident_id", PASSPORT),
    ("id_number", "in_office_at_16", "resident_id_of(substr({v}, 1, 6), ten_years_ago(), 1)", {"when": "start_date::date > ten_years_ago()"}),
    ("position_code", "legal_rep_is_no_supervisor", "'408A'", {"when": "is_legal_rep = '1'"}),
    ("appointment_mode", "appointment_given", *_empty()),
)
SHAREHOLDER = _breaches(
    "legal_entity.shareholder",
    ("paid", "amounts_in_one_unit", "{v} || '0000'", {"id": "X24", "rate": 0.005, "also": ("paid_within_subscribed",)}),
    ("ratio", "ratio_between_0_and_100", "'120'"),
    ("subscribed", "subscribed_positive", "'0'"),
    ("paid", "paid_within_subscribed", "(subscribed::double + 1)::varchar"),
    ("paid_date", "paid_has_date", *_empty()),
    ("investor_id_number", "person_has_document", *_empty("investor_type = '1'")),
    ("investor_uscc", "enterprise_has_uscc", *_empty("investor_type = '2'")),
    ("investor_uscc", "enterprise_does_not_own_itself", "uscc"),
    ("investor_uscc", "person_has_no_uscc", ANY_USCC, {"when": "investor_type = '1'", "fills": True}),
    ("investor_id_number", "enterprise_has_no_document", "resident_id_of('640104', date '1990-01-01' + ({h} % 3000)::integer, 1)",
     {"when": "investor_type = '2'", "fills": True}),
    ("paid", "paid_date_has_amount", "'0'"),
    ("subscribed_date", "paid_by_due_date", "day_before(paid_date)", _early()),
    ("ratio", "ratio_is_percent", "'0.' || {v}", {"id": "X24"}),
)


def _subjects(dataset: str) -> list[Breach]:
    """What licences and penalties say of their subject, agency and number in the same words."""
    return _breaches(
        dataset,
        ("uscc", "organisation_has_uscc", *_empty("subject_kind <> '2'")),
        ("subject_id_number", "natural_person_has_document", *_empty("subject_kind = '2'")),
        ("uscc", "natural_person_has_no_uscc", ANY_USCC, {"when": "subject_kind = '2'", "fills": True}),
        ("org_code", "org_code_agrees_with_uscc", OTHER_ORG),
        ("subject_id_number", "document_is_resident_id", PASSPORT),
        ("agency_uscc", "agency_is_public_body", COMPANY_CODE),
        ("provider_uscc", "provider_is_public_body", COMPANY_CODE),
        ("legal_rep_name", "organisation_has_legal_rep", *_empty()),
        ("subject_id_type", "natural_person_has_document_type", *_empty("subject_kind = '2'")),
        ("subject_kind", "individual_business_has_its_code", "if({v} = '1', '3', '1')", {"when": "{v} <> '2'"}),
        ("legal_rep_id_number", "legal_rep_document_is_resident_id", PASSPORT),
        ("tax_no", "tax_no_agrees_with_uscc", ANY_USCC, {"when": "uscc is not null", "fills": dataset.endswith("penalty")}),
        ("decision_no", "decision_no_form", "split_part({v}, '〔', 1) || split_part({v}, '〕', 2)", {"id": "X07"}),
        ("decision_date", "decision_no_year_agrees", "({v}::date - 366)::varchar", _early()),
    )


LICENCE = _subjects("credit.administrative_licence") + _breaches(
    "credit.administrative_licence",
    ("licence_kind", "licence_kind_in_list", "'一般'", {"id": "X16"}),
    ("licence_kind", "other_kind_is_explained", "'其他-'", {"id": "X16"}),
    ("valid_to", "valid_from_not_after_valid_to", "day_before(valid_from)", _early(also=("valid_licence_has_not_expired",))),
    ("valid_from", "decision_near_valid_from", "(decision_date::date - 500)::varchar", _early()),
    ("status_code", "valid_licence_has_not_expired", "'1'", {"when": "{v} = '2' and valid_to::date < getvariable('batch')"}),
)
PENALTY = _subjects("credit.administrative_penalty") + _breaches(
    "credit.administrative_penalty",
    ("fine_amount", "fine_agrees_with_text", "({v}::double * 10000)::integer::varchar", {"id": "X24", "rate": 0.005}),
    ("confiscated_amount", "confiscation_agrees_with_text", "({v}::double * 10000)::integer::varchar", {"id": "X24"}),
    ("penalty_kinds", "penalty_kinds_in_list", "{v} || '；扣分'", {"id": "X16"}),
    ("fine_amount", "fine_has_amount", *_empty()),
    ("penalty_kinds", "confiscation_has_amount", "{v} || '；没收违法所得'", {"when": "confiscated_amount is null"}),
    ("penalty_kinds", "revocation_names_licence", "{v} || '；吊销许可证件'", {"when": "revoked_licence is null"}),
    ("penalty_kinds", "fine_amount_has_kind", "'警告'", {"when": "decision_date < '2026-04-01' and confiscated_amount is null"}),
    ("penalty_kinds", "confiscated_amount_has_kind", "'罚款'", {"when": "confiscated_amount is not null"}),
    ("penalty_kinds", "warning_published_three_months", "'警告'",
     {"when": "decision_date >= '2026-04-01' and confiscated_amount is null", "also": ("fine_amount_has_kind",)}),
    ("legal_basis", "legal_basis_cites_article", "'有关规定'"),
    ("publish_until", "publication_ends_after_decision", "decision_date", _early()),
    ("publish_until", "publication_within_three_years", "(decision_date::date + 1500)::varchar"),
    ("valid_until", "penalty_ends_after_decision", "day_before(decision_date)", _early()),
)
ABNORMAL = _breaches(
    "credit.abnormal_list",
    ("remove_date", "remove_not_before_include", "day_before(include_date)", _early()),
    ("remove_reason", "removed_has_reason", *_empty("remove_date is not null")),
    ("remove_org", "removed_has_org", *_empty("remove_date is not null")),
    ("remove_date", "removal_has_date", *_empty()),
    ("include_reason", "reason_in_force_when_entered", "if(include_date < '2025-03-18', '3', '5')", {"id": "X16"}),
    ("include_date", "entered_since_2014", "'2013-05-06'", _early()),
    ("include_org", "entry_has_org", *_empty()),
    ("uscc", "code_assigned_by_market_regulation", SOCIETY_CODE),
)
DEFAULTER = _breaches(
    "credit.judgment_defaulter",
    ("birth_date", "birth_date_agrees_with_id", "({v}::date + 1 + ({h} % 300)::integer)::varchar", {"id": "X08", "rate": 0.004, "severity": "reject"}),
    ("sex_code", "sex_agrees_with_id", "if({v} = '1', '2', '1')", {"id": "X09", "rate": 0.003, "severity": "reject"}),
    ("case_no", "case_no_form", "substr({v}, 7)", {"id": "X07"}),
    ("filing_date", "case_no_year_agrees", "({v}::date - 366)::varchar", _early(when="coalesce(birth_date, '1980-01-01') < '1990-01-01'")),
    ("publish_date", "publish_not_before_filing", "day_before(filing_date)", _early()),
    ("id_number", "natural_person_has_id", *_empty("debtor_kind = '1'")),
    ("org_code", "organisation_has_org_code", *_empty("debtor_kind = '2'")),
    ("performance_code", "performance_agrees_with_parts", "'3'", {"when": "unperformed_part is not null"}),
    ("sex_code", "organisation_has_no_personal_items", "'1'", {"when": "debtor_kind = '2'", "fills": True}),
    ("org_code", "natural_person_has_no_org_code", "org_code_of('MA6' || lpad(({h} % 99999)::varchar, 5, '0'))",
     {"when": "debtor_kind = '1'", "fills": True}),
    ("legal_rep_name", "organisation_has_legal_rep", *_empty("debtor_kind = '2'")),
    ("filing_date", "debtor_is_adult", "(birth_date::date + 5000)::varchar", _early(also=("case_no_year_agrees",))),
    ("behaviour", "behaviour_in_list", "'态度不好'", {"id": "X16"}),
    ("basis_doc", "basis_given", *_empty()),
)
# Defects no row rule sees: departments that disagree, another spelling of a name, a licence number in place of a code, a day in the future.
UNSEEN = [
    Breach("population.death", "death_date", "death_date.future", "(year({v}::date) + 30) || substr({v}, 5, 4) || '01'", id="X13", rate=0.002, severity="reject"),
    Breach("population.death", "death_date", "", "({v}::date + 1 + ({h} % 3)::integer)::varchar", id="X26", rate=0.01),
    Breach("legal_entity.enterprise", "address", "", "replace({v}, '号楼', '号楼东侧')", id="X26", rate=0.01),
    Breach("credit.administrative_penalty", "uscc", "uscc.length", "reg_no", "reg_no is not null", id="X32", rate=0.02),
    Breach("credit.administrative_penalty", "subject_name", "", "replace({v}, '有限责任公司', '有限公司')", "contains({v}, '有限责任公司')", id="X21", rate=0.02),
]
BREACHES = [*PERSON, *MEMBER, *DEATH, *INSURANCE, *BENEFIT, *ENTERPRISE, *KEY_PERSON, *SHAREHOLDER, *LICENCE, *PENALTY, *ABNORMAL, *DEFAULTER, *UNSEEN]
