-- What the theme views must find, by construction of the world (at `anchor`; t_<table> are the clean rows of a dataset).
-- `rule` speaks the views' words: role, kind of cluster, reason of a mismatch.
create table leads as
select 'Q1' as question, 'legal_representative' as rule, n.uscc, d.id_number, d.case_no as record
from t_judgment_defaulter d join world.registered n on n.rep_id = d.id_number
where d.debtor_kind = '1' and d.performance_code in ('1', '2') and n.status_code = '1'
union all
select 'Q3', 'licence', n.uscc, null, l.decision_no
from t_administrative_licence l join world.registered n on n.uscc = l.uscc
where n.status_code in ('2', '3', '4') and l.status_code = '1' and coalesce(l.valid_to::date >= getvariable('anchor'), true)
union all
select 'Q5', 'payment', null, b.id_number, b.payment_id
from t_benefit_payment b join world.person p on p.id_number = b.id_number
where b.fee_period > strftime(p.death_date, '%Y-%m')
union all
select 'Q6', 'legal_representative', n.uscc, n.rep_id, null from world.registered n where n.dead_rep
union all
select 'Q6', 'shareholder', n.uscc, n.rep_id, 'TZ' || lpad((n.e * 2 + 1)::varchar, 10, '0')
from world.registered n where n.dead_rep and n.prefix = '91'
union all
select 'Q6', 'insured', null, s.id_number, s.insurance_type
from t_social_insurance s join world.person p on p.id_number = s.id_number where p.death_date is not null and s.status_code = '1'
union all
select 'Q8', 'person', n.uscc, n.rep_id, null from world.registered n
where n.rep_id in (select rep_id from world.registered where shared_rep) and n.status_code = '1'
union all
select 'Q8', 'address', uscc, null, address_at(county_name, township, door) from world.registered where shared_address
union all
select 'Q13', case when p.uscc is not null then 'not_found' when p.org_code is not null then 'org_code'
           when p.reg_no is not null then 'reg_no' when n.name is not null then 'name' else 'former_name' end, p.uscc, null, p.decision_no
from t_administrative_penalty p left join world.registered n on n.name = p.subject_name where p._guard
union all
select 'Q13', 'org_code', null, null, record from unusable_codes;
