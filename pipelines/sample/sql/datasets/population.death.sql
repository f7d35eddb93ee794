-- Deaths as three departments know them: each knows most of them, none all.
with told as (
    select d.r, d.late_pay, d.still_insured, p.*, s.source,
           s.rank, below(100, p.i, 'told' || s.rank) < s.share or d.late_pay or d.still_insured
               or p.i in (select rep from world.enterprise where dead_rep) as known
    from world.dead d join world.person p on p.i = d.i
    cross join (values ('public_security', 0, 85), ('health', 1, 80), ('civil_affairs', 2, 70)) s(source, rank, share))
select i * 3 + rank as _order, source as _source, 'all' as _part, death_date + 12 as _since,
       late_pay or still_insured or i in (select rep from world.enterprise where dead_rep) as _guard,
       id_number, source as source_kind, name, death_date::varchar as death_date,
       if(source = 'health', ['I21.9', 'I63.9', 'C34.9', 'J44.9', 'E14.9'][1 + below(5, i, 'cause')], null) as cause_code,
       replace(county_name, '宁夏回族自治区', '') || '示例医院' as place,
       if(source = 'public_security', null, 'SW' || lpad((i * 7 + 13)::varchar, 10, '0')) as certificate_no,
       if(source = 'civil_affairs', (death_date + 3)::varchar, null) as cremation_date,
       (death_date + 5 + below(6, i, 'registered' || rank))::varchar as registered_date, county_code as region_code
from told where known
