-- zh: 法定代表人为失信被执行人的在营企业（线索，非结论）
-- en: Active enterprises whose legal representative is a judgment defaulter (leads, not findings)
-- grain: 一企业一人一案件一行 — one row per enterprise, person and case
-- rule: Q1：登记或任职的法定代表人与失信被执行人证件号码相同，案件未全部履行，企业登记状态为存续 — the document numbers
--   are the same, the obligation is not fully performed, the enterprise is active
-- match: exact，证件号码的假名相等 — exact, by pseudonym of the document number
-- needs: credit.judgment_defaulter, legal_entity.enterprise, legal_entity.key_person
-- left out: 没有证件号码的记录；姓名相同者不作匹配 — records without a document number; nobody is matched by name
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 企业统一社会信用代码 — Unified social credit code of the enterprise
--   enterprise_name: 企业名称 — Enterprise
--   region_code: 企业住所区划 — Division of the enterprise's domicile
--   person_id: 法定代表人假名 — Pseudonym of the legal representative
--   shown_by: 任职依据（登记信息、主要人员） — Which registers name the person: enterprise, key_person
--   case_no: 案号 — Case number
--   court: 执行法院 — Court
--   filing_date: 立案日期 — Date of filing
--   publish_date: 发布日期 — Date of publication
--   performance_code: 履行情况代码 — How far the obligation was performed, code
--   performance: 履行情况 — How far the obligation was performed
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.judgment_defaulter', 'legal_entity.enterprise', 'legal_entity.key_person')
),
representative AS (
    SELECT uscc, person_id, string_agg(DISTINCT shown_by, ', ' ORDER BY shown_by) AS shown_by
    FROM (
        SELECT uscc, legal_rep_person_id AS person_id, 'enterprise' AS shown_by FROM legal_entity.enterprise
        UNION ALL
        SELECT uscc, person_id, 'key_person' FROM legal_entity.key_person, today
        WHERE is_legal_rep = '1' AND (end_date IS NULL OR end_date >= today.as_of)
    )
    WHERE person_id IN (SELECT person_id FROM credit.judgment_defaulter)
    GROUP BY uscc, person_id
)
SELECT
    'Q1.legal_rep_defaulter' AS rule_id, e.uscc, e.name AS enterprise_name, e.region_code, r.person_id, r.shown_by,
    d.case_no, d.court, d.filing_date, d.publish_date, d.performance_code, p.name AS performance,
    'exact' AS match_level, today.as_of
FROM credit.judgment_defaulter d
JOIN representative r ON r.person_id = d.person_id
JOIN legal_entity.enterprise e ON e.uscc = r.uscc AND e.status_code = '1'
LEFT JOIN reference.performance p ON p.code = d.performance_code
CROSS JOIN today
WHERE d.performance_code IS DISTINCT FROM '3'
