-- zh: 规则月度计数：按批次、数据资源、部门和区划分别汇总，是各级得分的共同来源
-- en: Monthly counts per rule for every batch, dataset, department and division: what all scores are made of
-- grain: 一月一范围一对象一数据资源一规则一行 — one row per month, scope, subject, dataset and rule
-- rule: 区划取各批分县计数，县级前四位为地级、前两位为省级；区划不明的记录不计入任何区划 — divisions from the counts by county, rolled up by the first four
--   and the first two digits; records of no known division count in none
-- columns:
--   month: 月份 — Month
--   scope: 范围 — batch, dataset, department or region
--   subject: 对象 — Batch and revision, dataset, department or division code
--   dataset: 数据资源 — Dataset
--   rule: 规则 — Rule
--   indicator: 质量指标代码 — Quality indicator (GB/T 36344-2018)
--   severity: 严重程度 — Severity
--   at_least: 合格率下限 — Lowest acceptable pass rate
--   applicable: 适用记录数 — Records the rule applies to
--   failed: 不合格记录数 — Records that fail
WITH county AS (
    SELECT b.month, b.dataset, c.region, r.rule, r.indicator, r.severity, r.at_least, b.batch_date AS as_of, sum(c.applicable) AS applicable, sum(c.failed) AS failed
    FROM governance.rule_counts c
    JOIN governance.judged_batches b ON b.batch_id = c.batch_id AND b.revision = c.revision
    JOIN governance.rule_results r ON r.batch_id = c.batch_id AND r.revision = c.revision AND r.rule = c.rule
    GROUP BY ALL
    UNION ALL
    SELECT m.month, m.dataset, c.region, m.rule, m.indicator, m.severity, m.at_least, m.as_of, c.applicable, c.failed
    FROM governance.check_counts c
    JOIN governance.measurements m ON m.batch_id IS NULL AND m.dataset = c.dataset AND m.rule = c.rule AND m.source = c.source AND m.as_of = c.as_of
),
counted AS (
    SELECT month, s.scope, CASE s.scope WHEN 'dataset' THEN dataset WHEN 'department' THEN department ELSE batch_id || '~r' || revision END AS subject,
        dataset, rule, indicator, severity, at_least, as_of, applicable, failed
    FROM governance.measurements CROSS JOIN (VALUES ('batch'), ('dataset'), ('department')) s(scope)
    WHERE s.scope <> 'batch' OR batch_id IS NOT NULL
    UNION ALL
    SELECT month, 'region', rpad(left(region, l.digits), 6, '0'), dataset, rule, indicator, severity, at_least, as_of, applicable, failed
    FROM county CROSS JOIN (VALUES (2), (4), (6)) l(digits)
    WHERE regexp_full_match(region, '[0-9]{6}') AND substr(region, l.digits - 1, 2) <> '00'
)
SELECT month, scope, subject, dataset, rule, arg_max(indicator, as_of) AS indicator, arg_max(severity, as_of) AS severity,
    arg_max(at_least, as_of) AS at_least, sum(applicable)::BIGINT AS applicable, sum(failed)::BIGINT AS failed
FROM counted WHERE subject IS NOT NULL GROUP BY month, scope, subject, dataset, rule
