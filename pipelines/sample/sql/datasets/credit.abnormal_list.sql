-- Entries in the list of abnormal operations; three of ten have been removed.
with listed as (
    select a, n.*, greatest(n.establish_date + 60, days_before(getvariable('anchor'), 30 + below(900, a, 'listed'))) as day,
           below(10, a, 'removed') < 3 as removed
    from range(getvariable('enterprises') // 4) t(a) join world.registered n on n.e = (4 * a + 2) % getvariable('enterprises'))
select a as _order, 'market_regulation' as _source, (1 + a % 2)::varchar as _part, day + 3 as _since, false as _guard,
       'YC' || lpad((a + 1)::varchar, 9, '0') as list_id, uscc, reg_no, name, day::varchar as include_date,
       ['1', '4', '2', '1'][1 + below(4, a, 'reason')] as include_reason,
       replace(county_name, '宁夏回族自治区', '') || '市场监督管理局' as include_org,
       if(removed, (day + 25)::varchar, null) as remove_date, if(removed, '已补报年度报告', null) as remove_reason,
       if(removed, replace(county_name, '宁夏回族自治区', '') || '市场监督管理局', null) as remove_org
from listed
