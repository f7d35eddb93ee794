-- zh: 规则月度合格率：每数据资源每数源每规则，含环比和去年同月
-- en: Pass rate of every rule per month, dataset and source, with the month before and the year before
-- grain: 一月一数据资源一数源一规则一行 — one row per month, dataset, source and rule
-- rule: 同月各批相加（A、B 分别求和）后相除；没有适用记录则为未测量 — batches of a month are added up, then divided; no applicable record is not measured
-- columns:
--   month: 月份 — Month
--   dataset: 数据资源 — Dataset
--   source: 报送渠道 — Source
--   department: 数源部门 — Department that answers for it
--   rule: 规则 — Rule
--   column: 字段 — Column
--   zh: 中文说明 — Chinese words
--   en: 英文说明 — English words
--   indicator: 质量指标代码 — Quality indicator (GB/T 36344-2018)
--   severity: 严重程度 — Severity
--   owner: 整改责任部门 — Department that must fix it
--   batches: 批次数 — Batches of the month, or 1 for a check
--   applicable: 适用记录数 — Records the rule applies to
--   failed: 不合格记录数 — Records that fail
--   pass_rate: 合格率 — Pass rate, NULL when nothing was measured
--   at_least: 合格率下限 — Lowest acceptable pass rate, of the newest batch
--   outcome: 结果 — pass, fail or not_measured
--   previous: 上月合格率 — Pass rate of the month before
--   change: 与上月之差 — Difference to the month before
--   year_before: 去年同月合格率 — Pass rate of the same month a year before
WITH monthly AS (
    SELECT month, dataset, source, any_value(department) AS department, rule, arg_max("column", as_of) AS "column", arg_max(zh, as_of) AS zh,
        arg_max(en, as_of) AS en, arg_max(indicator, as_of) AS indicator, arg_max(severity, as_of) AS severity, arg_max(owner, as_of) AS owner,
        count(*) AS batches, sum(applicable)::BIGINT AS applicable, sum(failed)::BIGINT AS failed, arg_max(at_least, as_of) AS at_least
    FROM governance.measurements GROUP BY month, dataset, source, rule
),
rated AS (
    SELECT *, (applicable - failed) / nullif(applicable, 0) AS pass_rate,
        CASE WHEN applicable = 0 THEN 'not_measured' WHEN applicable - failed < at_least::DECIMAL(9, 6) * applicable THEN 'fail' ELSE 'pass' END AS outcome,
        left(month, 4)::INTEGER * 12 + right(month, 2)::INTEGER AS n
    FROM monthly
)
SELECT month, dataset, source, department, rule, "column", zh, en, indicator, severity, owner, batches, applicable, failed, pass_rate, at_least, outcome,
    max(pass_rate) OVER before AS previous, pass_rate - max(pass_rate) OVER before AS change, max(pass_rate) OVER last_year AS year_before
FROM rated
WINDOW before AS (PARTITION BY dataset, source, rule ORDER BY n RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING),
    last_year AS (PARTITION BY dataset, source, rule ORDER BY n RANGE BETWEEN 12 PRECEDING AND 12 PRECEDING)
