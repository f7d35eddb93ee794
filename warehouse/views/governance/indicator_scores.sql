-- zh: 指标月度得分：每数据资源每数源每指标 X = A/B
-- en: Score of every indicator per month, dataset and source: X = A/B over applicable records
-- grain: 一月一数据资源一数源一指标一行 — one row per month, dataset, source and indicator
-- rule: A 为成立的适用记录数，B 为适用记录数；逆向指标 0303、0305 按 1 − X 计；未测量为空，不计为 1 — A holds, B applies; inverse indicators enter as
--   1 − X; not measured is NULL, never 1
-- columns:
--   month: 月份 — Month
--   dataset: 数据资源 — Dataset
--   source: 报送渠道 — Source
--   department: 数源部门 — Department that answers for it
--   indicator: 质量指标代码 — Quality indicator (GB/T 36344-2018)
--   checks: 已测量的检查数 — Number of checks that measured something
--   held: 成立数 A — Records on which the rules hold
--   applicable: 适用数 B — Records the rules apply to
--   score: 得分 — X = A/B
SELECT month, dataset, source, any_value(department) AS department, indicator, count(*) FILTER (applicable > 0) AS checks,
    sum(applicable - failed)::BIGINT AS held, sum(applicable)::BIGINT AS applicable, sum(applicable - failed) / nullif(sum(applicable), 0) AS score
FROM governance.rule_scores GROUP BY month, dataset, source, indicator
