-- Companies have two shareholders: the legal representative with 60 %, and a relative or, in one case of ten, a company.
with pair as (
    select e.*, k.k, k.k = 2 and below(10, e.e, 'corporate') = 0 as corporate,
           second_rank(e.e) as second
    from world.registered e cross join range(1, 3) k(k) where e.prefix = '91'),
held as (
    select v.*, a.name as second_name, a.id_number as second_id, o.name as parent_name, o.uscc as parent_uscc
    from pair v join world.adult r on r.r = v.second join world.person a on a.i = r.i
    join world.registered o on o.e = (v.e + 7) % getvariable('enterprises'))
select e * 2 + k as _order, 'market_regulation' as _source, 'all' as _part, establish_date as _since, guarded as _guard,
       'TZ' || lpad((e * 2 + k)::varchar, 10, '0') as investment_id, uscc,
       case when k = 1 then rep_name when corporate then parent_name else second_name end as investor_name,
       if(corporate, '2', '1') as investor_type,
       case when k = 1 then rep_id when corporate then null else second_id end as investor_id_number,
       if(corporate, parent_uscc, null) as investor_uscc,
       (capital * if(k = 1, 6, 4) // 10)::varchar as subscribed, establish_date::varchar as subscribed_date,
       '1' as subscribed_mode, (capital * if(k = 1, 3, 2) // 10)::varchar as paid,
       establish_date::varchar as paid_date, if(k = 1, '60', '40') as ratio
from held
