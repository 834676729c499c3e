-- Views that an operator may have replaced, and that use lower() where the locale makes of an I something else than i.
select v.name
from unnest(array['directory', 'device_credentials']) v (name)
where lower('I') <> sip_lower('I') and pg_get_viewdef(to_regclass(v.name)) ~ '\mlower\('
