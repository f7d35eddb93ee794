-- zh: 数据体检：数据资源、部门、区划每月的指标、维度和总分，环比、同比和信号灯
-- en: The monthly health check of datasets, departments and divisions: indicators, dimensions and the whole, compared, with a traffic light
-- grain: 一月一范围一对象一指标、维度或总分一行 — one row per month, scope, subject and indicator, dimension or whole
-- rule: 红灯：有阻断或拒收规则低于下限，或得分低于 0.90；黄灯：有提示规则低于下限、得分低于 0.95 或环比下降超过 1 %；其余绿灯；未测量为空 — red: a block or
--   reject rule below its limit, or a score below 0.90; amber: a warn rule below its limit, a score below 0.95, or down by more than 1 %; else green
-- columns:
--   month: 月份 — Month
--   scope: 范围 — dataset, department or region
--   subject: 对象 — Dataset, department or division code
--   name: 名称 — Name
--   indicator: 指标（四位）、维度（两位）或 all — Indicator (four digits), dimension (two digits) or all
--   checks: 已测量的检查数 — Number of checks that measured something
--   value: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
--   light: 信号灯 — green, amber or red; NULL when nothing was measured
SELECT s.month, s.scope, s.subject, coalesce(c.catalogue_name, d.full_name, s.subject) AS name, s.indicator, s.checks, s.score AS value, s.previous, s.mom,
    s.year_before, s.yoy, CASE WHEN s.score IS NULL THEN NULL WHEN s.failing > 0 OR s.score < 0.9 THEN 'red'
        WHEN s.warnings > 0 OR s.score < 0.95 OR coalesce(s.mom, 0) < -0.01 THEN 'amber' ELSE 'green' END AS light
FROM governance.scope_scores s LEFT JOIN governance.datasets c ON s.scope = 'dataset' AND c.dataset = s.subject
LEFT JOIN reference.admin_division d ON s.scope = 'region' AND d.code = s.subject
WHERE s.scope <> 'batch'
