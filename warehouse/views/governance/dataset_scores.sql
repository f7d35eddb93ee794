-- zh: 数据资源月度得分、成熟度和记录数
-- en: Monthly score of every dataset, with its maturity and its records
-- grain: 一月一数据资源一行 — one row per month and dataset
-- rule: 得分为已测量维度的平均。成熟度：M1 标准可靠安全及时，指标 0101 至 0106、0502、0601 均已测量且不低于 0.95；M2 准确完整，另外维度 02、03、04 均已测量且不低于
--   0.95；M3 智能，另外当月跨数据资源检查和历史检查各有测量且全部达标；不足 M1 为空 — M1: indicators 0101–0106, 0502 and 0601 measured and at least 0.95; M2:
--   dimensions 02, 03, 04 as well; M3: checks across datasets and against history measured and all held as well; NULL below M1
-- columns:
--   month: 月份 — Month
--   dataset: 数据资源 — Dataset
--   domain: 基础库 — Base database
--   checks: 已测量的检查数 — Number of checks that measured something
--   score: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
--   maturity: 成熟度 — Maturity M1, M2 or M3; NULL below M1
--   lacking: M1 所缺指标 — Indicators of M1 that are not measured or below 0.95
--   failing: 低于下限的阻断或拒收规则数 — Rules of severity block or reject below their limit
--   warnings: 低于下限的提示规则数 — Rules of severity warn below their limit
--   batches: 批次数 — Batches of the month
--   records: 记录数 — Records read
--   quarantined: 隔离记录数 — Records in quarantine
WITH part AS (
    SELECT month, subject AS dataset, list(indicator) FILTER (score >= 0.95) AS good FROM governance.scope_scores WHERE scope = 'dataset' GROUP BY ALL
),
wise AS (
    SELECT month, dataset, count(DISTINCT kind) = 2 AND bool_and(applicable - failed >= coalesce(at_least, 0)::DECIMAL(9, 6) * applicable) AS holds
    FROM governance.measurements WHERE kind IN ('across', 'history') AND applicable > 0 GROUP BY ALL
),
volume AS (
    SELECT month, dataset, count(*) AS batches, sum(records)::BIGINT AS records, sum(quarantined)::BIGINT AS quarantined
    FROM governance.judged_batches GROUP BY ALL
),
level AS (
    SELECT p.month, p.dataset,
        list_filter(['0101', '0102', '0103', '0104', '0105', '0106', '0502', '0601'], lambda i: NOT list_contains(coalesce(p.good, []), i)) AS lacking,
        list_has_all(coalesce(p.good, []), ['02', '03', '04']) AS sound, coalesce(w.holds, false) AS wise
    FROM part p LEFT JOIN wise w ON w.month = p.month AND w.dataset = p.dataset
)
SELECT s.month, s.subject AS dataset, split_part(s.subject, '.', 1) AS domain, s.checks, s.score, s.previous, s.mom, s.year_before, s.yoy,
    CASE WHEN len(l.lacking) > 0 THEN NULL WHEN NOT l.sound THEN 'M1' WHEN NOT l.wise THEN 'M2' ELSE 'M3' END AS maturity,
    array_to_string(l.lacking, ', ') AS lacking, s.failing, s.warnings, coalesce(v.batches, 0) AS batches, v.records, v.quarantined
FROM governance.scope_scores s JOIN level l ON l.month = s.month AND l.dataset = s.subject
LEFT JOIN volume v ON v.month = s.month AND v.dataset = s.subject
WHERE s.scope = 'dataset' AND s.indicator = 'all'
