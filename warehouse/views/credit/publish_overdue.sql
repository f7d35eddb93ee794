-- zh: 已到公示截止而仍在公示库中的信用记录（线索，非结论）
-- en: Credit records that should no longer be shown (leads, not findings)
-- grain: 一条记录一行 — one row per record
-- rule: Q15：行政处罚已过填报的公示截止期，或自决定之日起超过最长公示期（信用修复管理办法，2026-04-01 施行：只有警告、通报批评的三个月，只有没收的十二个月，其他三十六
--   个月）；失信被执行人已全部履行仍在列 — a penalty past its own last day of publication, or past the longest period since the decision (3 months for
--   warnings alone, 12 for confiscation alone, otherwise 36); a defaulter who has performed in full and is still listed
-- match: exact，单条记录自身日期，不作匹配 — exact: by the record's own dates, nothing is matched
-- needs: credit.administrative_penalty, credit.judgment_defaulter
-- left out: 信用修复结果（尚无数据资源）；罚款数额档次由行业主管部门规定，一律按三十六个月；自然人处罚本不发布 — repairs (no dataset yet); the bounds between
--   small, large and huge fines are set by each ministry, so that every fine counts 36 months; penalties of natural persons are not published at all
-- columns:
--   rule_id: 规则编号 — Rule
--   record_kind: 记录类别 — Kind of record: penalty or defaulter
--   record_no: 文书号或案号 — Number of the decision or case
--   uscc: 统一社会信用代码 — Unified social credit code
--   org_code: 组织机构代码 — Organisation code
--   person_id: 自然人假名（失信被执行人） — Pseudonym of a natural person (defaulters)
--   agency_name: 处罚机关或执行法院 — Agency or court
--   penalty_kinds: 处罚类别 — Kinds of penalty
--   decision_date: 决定或发布日期 — Date of the decision or publication
--   publish_until: 填报的公示截止期 — Last day of publication as given
--   longest_until: 最长公示期届满日 — End of the longest period
--   why: 原因 — Reason: publish_until, longest_period or performed
--   days_overdue: 逾期天数 — Days since it should have gone, empty when the day is not known
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('credit.administrative_penalty', 'credit.judgment_defaulter')
),
penalty AS (
    SELECT decision_no, uscc, org_code, agency_name, penalty_kinds, decision_date, publish_until,
        (decision_date + CASE WHEN regexp_full_match(penalty_kinds, '(警告|通报批评|[;；,，、 ])+') THEN INTERVAL 3 MONTH
                              WHEN regexp_full_match(penalty_kinds, '(警告|通报批评|没收违法所得|没收非法财物|[;；,，、 ])+') THEN INTERVAL 12 MONTH
                              ELSE INTERVAL 36 MONTH END)::DATE AS longest_until
    FROM credit.administrative_penalty
)
SELECT
    'Q15.publish_overdue' AS rule_id, 'penalty' AS record_kind, p.decision_no AS record_no, p.uscc, p.org_code, NULL::VARCHAR AS person_id, p.agency_name,
    p.penalty_kinds, p.decision_date, p.publish_until, p.longest_until,
    CASE WHEN p.publish_until <= coalesce(p.longest_until, p.publish_until) THEN 'publish_until' ELSE 'longest_period' END AS why,
    today.as_of - least(p.publish_until, p.longest_until) AS days_overdue, 'exact' AS match_level, today.as_of
FROM penalty p
CROSS JOIN today
WHERE least(p.publish_until, p.longest_until) < today.as_of
UNION ALL
SELECT
    'Q15.publish_overdue', 'defaulter', d.case_no, NULL, d.org_code, d.person_id, d.court, NULL, d.publish_date, NULL, NULL, 'performed', NULL, 'exact', today.as_of
FROM credit.judgment_defaulter d
CROSS JOIN today
WHERE d.performance_code = '3'
