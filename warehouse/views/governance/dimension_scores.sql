-- zh: 数据资源各质量维度的月度得分，含环比和同比
-- en: Monthly score of every dimension of a dataset
-- grain: 一月一数据资源一维度一行 — one row per month, dataset and dimension
-- rule: 维度为已测量指标的平均 — the mean of its measured indicators
-- columns:
--   month: 月份 — Month
--   dataset: 数据资源 — Dataset
--   dimension: 质量维度（指标前两位） — Dimension, the first two digits of its indicators
--   checks: 已测量的检查数 — Number of checks that measured something
--   score: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
SELECT month, subject AS dataset, indicator AS dimension, checks, score, previous, mom, year_before, yoy
FROM governance.scope_scores WHERE scope = 'dataset' AND length(indicator) = 2
