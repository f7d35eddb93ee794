-- zh: 数源部门月度得分，含环比和同比
-- en: Monthly score of every department
-- grain: 一月一部门一行 — one row per month and department
-- rule: 只计该部门自己报送的记录；各数据资源得分的平均 — its own records only; the mean of its datasets
-- columns:
--   month: 月份 — Month
--   department: 数源部门 — Department
--   datasets: 已测量的数据资源数 — Datasets behind the score
--   checks: 已测量的检查数 — Number of checks that measured something
--   score: 得分 — Score, NULL when nothing was measured
--   previous: 上月得分 — Score of the month before
--   mom: 环比 — Change to the month before, relative
--   year_before: 去年同月得分 — Score of the same month a year before
--   yoy: 同比 — Change to the year before, relative
--   failing: 低于下限的阻断或拒收规则数 — Rules of severity block or reject below their limit
--   warnings: 低于下限的提示规则数 — Rules of severity warn below their limit
SELECT month, subject AS department, datasets, checks, score, previous, mom, year_before, yoy, failing, warnings
FROM governance.scope_scores WHERE scope = 'department' AND indicator = 'all'
