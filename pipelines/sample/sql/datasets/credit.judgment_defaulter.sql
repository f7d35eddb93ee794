-- Judgment defaulters: seven of ten are persons, and every fifth case is the representative of an enterprise in credit data.
with filed as (
    select d, d % 10 < 7 or d % 5 = 0 as is_person, n.name as org_name, n.org_code, n.rep_name, p.name as person_name, p.id_number,
           p.sex_code, p.birth_date, p.county_name, days_before(getvariable('anchor'), 60 + below(1200, d, 'filed')) as day,
           below(3, d, 'performance') as done, 1 + below(60, d, 'owes') as owes
    from range(getvariable('defaulters')) t(d)
    join world.registered n on n.e = (if(d % 5 = 0, 8, 12) * d + if(d % 5 = 0, 1, 3)) % getvariable('enterprises')
    join world.adult r on r.r = defaulter_rank(d) join world.person p on p.i = if(d % 5 = 0, n.rep, r.i))
select d as _order, 'court' as _source, 'all' as _part, day + 30 as _since, d % 5 = 0 as _guard,
       '（' || year(day) || '）宁01执' || (d + 1) || '号' as case_no,
       if(is_person, person_name, org_name) as debtor_name, if(is_person, '1', '2') as debtor_kind,
       if(is_person, id_number, null) as id_number, if(is_person, null, org_code) as org_code,
       if(is_person, null, rep_name) as legal_rep_name, if(is_person, sex_code, null) as sex_code,
       if(is_person, birth_date::varchar, null) as birth_date, '银川市中级人民法院' as court, '6401' as court_code,
       '（' || year(day) || '）宁01民初' || (d + 7) || '号' as basis_doc, '银川市中级人民法院' as basis_org,
       day::varchar as filing_date, '被执行人' || if(is_person, person_name, org_name) || '应给付' || owes || '万元' as obligation,
       (1 + done)::varchar as performance_code, if(done = 1, '已给付' || (owes + 1) // 2 || '万元', null) as performed_part,
       if(done < 2, '尚余' || owes || '万元', null) as unperformed_part, '有履行能力而拒不履行生效法律文书确定义务' as behaviour,
       (day + 20)::varchar as publish_date
from filed
