-- zh: 行政区划月度得分（省、地、县三级），含环比和同比
-- en: Monthly score of every division: province, prefecture, county
-- grain: 一月一区划一行 — one row per month and division
-- rule: 只计该区划的记录；县级向上汇总到地级和省级 — its own records only; counties are added up to prefecture and province
-- columns:
--   month: 月份 — Month
--   region: 行政区划代码 — Division code
--   level: 级别 — province, city or county
--   name: 全称 — Full name
--   checks: 已测量的检查数 — Number of checks that measured something
--   score: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
--   failing: 低于下限的阻断或拒收规则数 — Rules of severity block or reject below their limit
--   warnings: 低于下限的提示规则数 — Rules of severity warn below their limit
SELECT s.month, s.subject AS region, CASE WHEN s.subject LIKE '%0000' THEN 'province' WHEN s.subject LIKE '%00' THEN 'city' ELSE 'county' END AS level,
    coalesce(d.full_name, o.name, s.subject) AS name, s.checks, s.score, s.previous, s.mom, s.year_before, s.yoy, s.failing, s.warnings
FROM governance.scope_scores s LEFT JOIN reference.admin_division d ON d.code = s.subject
LEFT JOIN (SELECT code, any_value(name) AS name FROM reference.admin_division_obsolete GROUP BY code) o ON o.code = s.subject
WHERE s.scope = 'region' AND s.indicator = 'all'
