-- Who belongs to which household: one file per city.
select i as _order, 'public_security' as _source, city_code as _part, birth_date as _since, false as _guard,
       household_no_of(county_code, h) as household_no, id_number, relation_of(member, male) as relation_code,
       case when member > 1 then birth_date::varchar
           else (birth_date + 365 * 18 + below(1000, i, 'join'))::varchar end as join_date,
       if(death_date + 10 < getvariable('batch'), (death_date + 10)::varchar, null) as leave_date,
       county_code as region_code
from world.person
