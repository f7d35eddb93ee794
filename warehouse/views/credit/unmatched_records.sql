-- zh: 对不上登记主体的行政处罚和行政许可，及可能的原因（线索，非结论）
-- en: Penalties and licences whose subject is not in the register by its code, and the likely reason (leads, not findings)
-- grain: 一条处罚或许可记录一行 — one row per penalty or licence
-- rule: Q13：统一社会信用代码缺失或不在市场主体登记中；依次以组织机构代码、注册号、现名、曾用名、一字之差的名称、已撤销区划
--   说明原因 — the unified social credit code is missing or not in the register; explained, in this order, by organisation code,
--   licence number, name, former name, a name that differs in one character, an abolished division in the code
-- match: bridge 为组织机构代码或注册号相等；candidate 为名称近似；none 为未找到 — bridge by organisation code or licence
--   number; candidate by name; none when nothing was found
-- needs: credit.administrative_licence, credit.administrative_penalty, legal_entity.enterprise
-- left out: 名称变更历史只取登记信息中的曾用名；自然人记录；代码错一位者已由校验位发现，代码为空 — former names come from the
--   register only; natural persons; a code with one wrong character fails its check digit and is empty here
-- columns:
--   rule_id: 规则编号 — Rule
--   record_kind: 记录类别 — Kind of record: penalty or licence
--   decision_no: 决定文书号 — Number of the decision
--   agency_uscc: 决定机关统一社会信用代码 — Unified social credit code of the agency
--   subject_name: 行政相对人名称 — Subject of the decision
--   uscc: 记录中的统一社会信用代码 — Unified social credit code in the record
--   org_code: 记录中的组织机构代码 — Organisation code in the record
--   reg_no: 记录中的注册号 — Business licence number in the record
--   decision_date: 决定日期 — Date of the decision
--   why: 原因 — Reason: org_code, reg_no, name, former_name, similar_name, other_register, obsolete_region or not_found
--   matched_uscc: 可能的主体统一社会信用代码 — Unified social credit code of the likely entity
--   matched_name: 可能的主体名称 — Name of the likely entity
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.administrative_licence', 'credit.administrative_penalty', 'legal_entity.enterprise')
),
record AS (
    SELECT 'penalty' AS record_kind, decision_no, agency_uscc, subject_name, uscc, org_code, reg_no, decision_date FROM credit.administrative_penalty
    UNION ALL
    SELECT 'licence', decision_no, agency_uscc, subject_name, uscc, org_code, reg_no, decision_date FROM credit.administrative_licence
),
unmatched AS (
    SELECT row_number() OVER () AS id, record.* FROM record
    WHERE NOT EXISTS (FROM legal_entity.enterprise e WHERE e.uscc = record.uscc)
),
entity AS (
    SELECT uscc, name, reg_no, coalesce(org_code, substr(uscc, 9, 9)) AS org_code, former_names FROM legal_entity.enterprise
),
same AS (
    SELECT u.id, 1 AS place, 'org_code' AS why, e.uscc, e.name FROM unmatched u JOIN entity e ON e.org_code = coalesce(u.org_code, substr(u.uscc, 9, 9))
    UNION ALL
    SELECT u.id, 2, 'reg_no', e.uscc, e.name FROM unmatched u JOIN entity e ON e.reg_no = u.reg_no
    UNION ALL
    SELECT u.id, 3, 'name', e.uscc, e.name FROM unmatched u JOIN entity e ON e.name = u.subject_name
    UNION ALL
    SELECT u.id, 4, 'former_name', f.uscc, f.name FROM unmatched u
    JOIN (SELECT uscc, name, unnest(string_split(former_names, '；')) AS former FROM entity WHERE former_names IS NOT NULL) f ON f.former = u.subject_name
),
-- Two names differ in one character when they are equal with that character blanked out: an equality join, not a comparison of all pairs.
blanked_record AS (
    SELECT id, left(subject_name, spot - 1) || '?' || substr(subject_name, spot + 1) AS blanked
    FROM (SELECT id, subject_name, unnest(range(1, length(subject_name) + 1)) AS spot FROM unmatched
          WHERE length(subject_name) >= 6 AND left(coalesce(uscc, '9'), 1) = '9' AND id NOT IN (SELECT id FROM same))
),
blanked_entity AS (
    SELECT uscc, name, left(name, spot - 1) || '?' || substr(name, spot + 1) AS blanked
    FROM (SELECT uscc, name, unnest(range(1, length(name) + 1)) AS spot FROM entity)
),
hit AS (
    FROM same
    UNION ALL
    SELECT r.id, 5, 'similar_name', e.uscc, e.name FROM blanked_record r JOIN blanked_entity e ON e.blanked = r.blanked
),
best AS (
    SELECT id, min(place) AS place, arg_min(why, (place, uscc)) AS why, arg_min(uscc, (place, uscc)) AS matched_uscc,
        arg_min(name, (place, uscc)) AS matched_name
    FROM hit GROUP BY id
),
explained AS (
    SELECT u.*, b.matched_uscc, b.matched_name, CASE
            WHEN b.why IS NOT NULL THEN b.why
            WHEN u.uscc IS NOT NULL AND left(u.uscc, 1) <> '9' THEN 'other_register'
            WHEN substr(u.uscc, 3, 6) IN (SELECT code FROM reference.admin_division_obsolete EXCEPT SELECT code FROM reference.admin_division) THEN 'obsolete_region'
            ELSE 'not_found' END AS why
    FROM unmatched u LEFT JOIN best b ON b.id = u.id
)
SELECT
    'Q13.unmatched_records' AS rule_id, x.record_kind, x.decision_no, x.agency_uscc, x.subject_name, x.uscc, x.org_code, x.reg_no,
    x.decision_date, x.why, x.matched_uscc, x.matched_name,
    CASE WHEN x.why IN ('org_code', 'reg_no') THEN 'bridge' WHEN x.matched_uscc IS NOT NULL THEN 'candidate' ELSE 'none' END AS match_level,
    today.as_of
FROM explained x CROSS JOIN today
