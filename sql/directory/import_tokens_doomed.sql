select count(*) from auth_token k where not exists (select from account_after t where t.id = k.account_id::text)
