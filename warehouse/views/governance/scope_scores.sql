-- zh: 各级月度得分：批次、数据资源、部门、区划的指标、维度和总分，含环比和同比
-- en: Monthly scores of batches, datasets, departments and divisions: indicators, dimensions and the whole, with the month and the year before
-- grain: 一月一范围一对象一指标、维度或总分一行 — one row per month, scope, subject and indicator, dimension or whole
-- rule: 指标 X = A/B；维度为已测量指标的平均；数据资源为已测量维度的平均；部门和区划为其各数据资源的平均；未测量者不参与 — indicator X = A/B, dimension
--   the mean of its measured indicators, dataset the mean of its measured dimensions, department and division the mean of their datasets
-- columns:
--   month: 月份 — Month
--   scope: 范围 — batch, dataset, department or region
--   subject: 对象 — Batch and revision, dataset, department or division code
--   indicator: 指标（四位）、维度（两位）或 all — Indicator (four digits), dimension (two digits) or all
--   datasets: 已测量的数据资源数 — Datasets behind the score
--   checks: 已测量的检查数 — Number of checks that measured something
--   failing: 低于下限的阻断或拒收规则数 — Rules of severity block or reject below their limit
--   warnings: 低于下限的提示规则数 — Rules of severity warn below their limit
--   score: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
WITH indicator AS (
    SELECT month, scope, subject, dataset, indicator, count(*) FILTER (applicable > 0) AS checks,
        sum(applicable - failed) / nullif(sum(applicable), 0) AS score,
        count(*) FILTER (applicable - failed < at_least::DECIMAL(9, 6) * applicable AND severity <> 'warn') AS failing,
        count(*) FILTER (applicable - failed < at_least::DECIMAL(9, 6) * applicable AND severity = 'warn') AS warnings
    FROM governance.scope_rules GROUP BY month, scope, subject, dataset, indicator
),
dimension AS (      -- means add up in a stated order: the same ledger gives the same last digit
    SELECT month, scope, subject, dataset, left(indicator, 2) AS indicator, sum(checks) AS checks, avg(score ORDER BY indicator) AS score,
        sum(failing) AS failing, sum(warnings) AS warnings
    FROM indicator GROUP BY month, scope, subject, dataset, left(indicator, 2)
),
whole AS (
    SELECT month, scope, subject, dataset, 'all' AS indicator, sum(checks) AS checks, avg(score ORDER BY indicator) AS score, sum(failing) AS failing,
        sum(warnings) AS warnings
    FROM dimension GROUP BY month, scope, subject, dataset
),
scored AS (
    SELECT month, scope, subject, indicator, count(score) AS datasets, sum(checks)::BIGINT AS checks, sum(failing)::BIGINT AS failing,
        sum(warnings)::BIGINT AS warnings, avg(score ORDER BY dataset) AS score, left(month, 4)::INTEGER * 12 + right(month, 2)::INTEGER AS n
    FROM (FROM indicator UNION ALL FROM dimension UNION ALL FROM whole) GROUP BY month, scope, subject, indicator
),
compared AS (
    SELECT *, max(score) OVER before AS previous, max(score) OVER last_year AS year_before FROM scored
    WINDOW before AS (PARTITION BY scope, subject, indicator ORDER BY n RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING),
        last_year AS (PARTITION BY scope, subject, indicator ORDER BY n RANGE BETWEEN 12 PRECEDING AND 12 PRECEDING)
)
SELECT month, scope, subject, indicator, datasets, checks, failing, warnings, score, previous, (score - previous) / nullif(previous, 0) AS mom,
    year_before, (score - year_before) / nullif(year_before, 0) AS yoy
FROM compared
