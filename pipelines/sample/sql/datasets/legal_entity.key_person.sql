-- Companies: an executive director who represents them and a supervisor; others: the person in charge.
select e.e * 2 + k.k as _order, 'market_regulation' as _source, 'all' as _part, e.establish_date as _since, e.guarded as _guard,
       e.uscc, if(k.k = 1, e.rep_id, s.id_number) as id_number,
       case when k.k = 2 then '408A' when e.prefix = '91' then '432A' when e.prefix = '92' then 'L002' else 'L001' end as position_code,
       if(k.k = 1, e.rep_name, s.name) as name, '111' as id_type, if(k.k = 1, '1', '0') as is_legal_rep,
       if(e.prefix = '91', '选举', '委派') as appointment_mode, e.establish_date::varchar as start_date, null as end_date
from world.registered e cross join range(1, 3) k(k)
join world.adult r on r.r = supervisor_rank(e.e) join world.person s on s.i = r.i
where k.k = 1 or e.prefix = '91'
