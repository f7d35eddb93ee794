-- The register of the region, and the cases of one city's counter that are not older than three years.
with both_sources as (
    select 0 as rank, 'market_regulation' as source, * from world.registered
    union all
    select 1, 'administrative_approval', * from world.registered
    where city_code = '640100' and establish_date > getvariable('anchor') - 1100 and status_code = '1')
select e * 2 + rank as _order, source as _source, 'all' as _part, if(changed_on between establish_date and getvariable('batch'), changed_on, establish_date) as _since,
       guarded as _guard,
       uscc, 'PR' || lpad((e + 500000)::varchar, 12, '0') as pripid, reg_no, org_code, name,
       former_name as former_names, entity_type_code, rep_name as legal_rep_name, '111' as legal_rep_id_type,
       rep_id as legal_rep_id_number, if(prefix = '92', null, capital::varchar) as reg_capital,
       if(prefix = '92', null, 'CNY') as reg_capital_currency, if(prefix = '91', (capital // 2)::varchar, null) as paid_capital,
       establish_date::varchar as establish_date, if(changed_on between establish_date and getvariable('batch'), changed_on, establish_date)::varchar as approve_date,
       establish_date::varchar as term_from,
       if(long_term, null, (establish_date + 10950)::varchar) as term_to, long_term::varchar as is_long_term,
       if(status_date > getvariable('batch'), '1', status_code) as status_code,
       if(status_date > getvariable('batch'), null, status_date)::varchar as status_date,
       replace(county_name, '宁夏回族自治区', '') || '市场监督管理局' as reg_org, county_code as reg_org_region,
       county_code as region_code, county_code || '00' || (township + 1) as township_code,
       address_at(county_name, township, door) as address, address_at(county_name, township, door) as business_address,
       '75' || lpad(below(10000, e, 'postal')::varchar, 4, '0') as postal_code,
       trade_of(trade, 1) as industry_section, trade_of(trade, 2) as industry_code,
       '一般项目：' || trade_of(trade, 4) || '（依法须经批准的项目，经相关部门批准后方可开展经营活动）' as business_scope,
       (1 + below(300, e, 'staff') + (changed_on <= getvariable('batch'))::integer)::varchar as employee_count,
       rep_mobile as phone, 'e' || lpad(e::varchar, 8, '0') || '@example.cn' as email
from both_sources
