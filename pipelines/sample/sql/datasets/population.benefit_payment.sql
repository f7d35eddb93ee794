-- Payments of the month to living persons from 60, and the planted payments for months after a death.
with payee as (
    select i, id_number, name, county_code, age, strftime(getvariable('batch'), '%Y-%m') as period, getvariable('batch') as since,
           false as guard, 0 as back
    from world.person where age >= 60 and death_date is null and below(100, i, 'pension') < 75
    union all
    select p.i, p.id_number, p.name, p.county_code, p.age, strftime(d.death_date + to_months(k.k::integer), '%Y-%m'),
           (d.death_date + to_months(k.k::integer))::date, true, k.k
    from world.dead d join world.person p on p.i = d.i
    cross join range(1, 4) k(k)
    where d.late_pay and k.k <= 1 + d.r % 3 and d.death_date + to_months(k.k::integer) < getvariable('batch'))
select i * 4 + back as _order, 'social_security' as _source, 'all' as _part, since as _since, guard as _guard,
       'FF' || replace(period, '-', '') || lpad(i::varchar, 9, '0') as payment_id, id_number, name,
       ['110', '120', '130', '120'][1 + below(4, i, 'item')] as benefit_item, period as fee_period,
       (800 + below(4200, i, 'amount'))::varchar || '.' || lpad(below(100, i, 'cents')::varchar, 2, '0') as amount,
       county_code as region_code, lpad(below(10000, i, 'bank')::varchar, 4, '0') as bank_last4
from payee
