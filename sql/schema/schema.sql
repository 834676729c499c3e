-- What the migrations make of an empty database. Written by `make schema`; a test compares it.

CREATE DOMAIN public.identifier AS text
	CONSTRAINT identifier_check CHECK ((((length(VALUE) >= 1) AND (length(VALUE) <= 64)) AND (VALUE !~ '[[:cntrl:]/]'::text)));

CREATE DOMAIN public.realm AS text
	CONSTRAINT realm_check CHECK (((VALUE ~ '^[\u0021-\u003f\u0041-\u007e]{1,253}$'::text) AND (VALUE = lower(VALUE))));

CREATE FUNCTION public.account_follow_domains() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
declare
    realms text[];
    made integer;
begin
    if not directory_is_of_subscriber() then
        return 0;
    end if;
    -- From one domain to the next in the index: there may be a million subscribers of few domains.
    with recursive subscribed (realm) as (
        select min(sip_lower(s.domain)) from subscriber s
        union all
        select (select min(sip_lower(s.domain)) from subscriber s where sip_lower(s.domain) > p.realm)
        from subscribed p
        where p.realm is not null
    ),
    registered (realm) as (
        select distinct sip_lower(aor_realm(l.domain))
        from location l
        where l.account_id is null and l.domain <> ''
        limit greatest(0, 10000 - (select count(*) from account a where a.automatic))
    )
    select array_agg(found.realm) into realms
    from (
        select s.realm from subscribed s
        union
        select r.realm from registered r
        union
        select kamailio_default_realm()
    ) found
    -- What can be an ID of an account and a realm.
    where found.realm ~ '^[\u0021-\u002e\u0030-\u003f\u0041-\u007e]{1,64}$'
        and found.realm = sip_lower(found.realm)
        and not exists (select from account a where a.realm = found.realm or a.id = found.realm);
    if realms is null then
        return 0;
    end if;
    -- An import may have begun meanwhile.
    lock table account in row exclusive mode;
    if not directory_is_of_subscriber() then
        return 0;
    end if;
    -- While it has its owner's rights, which the checks need; deferred they would come too late.
    set constraints account_refuse_nonsense immediate;
    insert into account (id, name, realm, automatic)
    select realm, realm, realm, true from unnest(realms) realm
    on conflict do nothing;
    get diagnostics made = row_count;
    return made;
end $_$;

CREATE FUNCTION public.account_note_subscribers() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
        begin
            delete from subscriber s using device d where d.account_id = new.id and s.device_id = d.id;
            insert into subscriber (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1 from device d
                where d.account_id = new.id and d.enabled and new.enabled and d.ha1 is not null;
            return null;
        end $$;

CREATE FUNCTION public.account_refuse_nonsense() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    if exists (
        select from account a join device d on d.sip_realm = a.realm and d.account_id <> a.id where a.id = new.id
    ) then
        raise check_violation
            using message = format('account %s: realm %s is the sip_realm of another account''s device', new.id, new.realm);
    end if;
    if exists (
        with recursive above (id) as (
            select a.parent_id from account a where a.id = new.id
            union
            select a.parent_id from account a join above on a.id = above.id
        )
        select from above where above.id = new.id
    ) then
        raise check_violation using message = format('account %s is its own ancestor', new.id);
    end if;
    return null;
end $$;

CREATE FUNCTION public.aor_realm(domain text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULLIF(CASE WHEN (strpos(domain, '@'::text) > 0) THEN split_part(domain, '@'::text, '-1'::integer) ELSE domain END, ''::text);

CREATE FUNCTION public.aor_username(username text, domain text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (strpos(domain, '@'::text) > 0) THEN ((username || '@'::text) || "left"(domain, ('-1'::integer - length(split_part(domain, '@'::text, '-1'::integer))))) ELSE username END;

CREATE FUNCTION public.device_note_credentials() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    new.credentials_changed_at = now();
    return new;
end $$;

CREATE FUNCTION public.device_note_subscriber() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
        begin
            delete from subscriber s using came d where s.device_id = d.id;
            insert into subscriber (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1
                from came d
                join account a on a.id = d.account_id
                where d.enabled and a.enabled and d.ha1 is not null
                for share of a;
            return null;
        end $$;

CREATE FUNCTION public.device_refuse_realm_of_another() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    if exists (
        select from device d join account a on a.realm = d.sip_realm and a.id <> d.account_id where d.id = new.id
    ) then
        raise check_violation
            using message = format('device %s: sip_realm %s is the realm of another account', new.id, new.sip_realm);
    end if;
    return null;
end $$;

CREATE FUNCTION public.device_take_account_realm() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    select a.realm into new.account_realm from account a where a.id = new.account_id;
    if new.account_realm is null then
        raise foreign_key_violation
            using message = format('device %s: there is no account %s', new.id, new.account_id);
    end if;
    return new;
end $$;

CREATE FUNCTION public.directory_is_of_subscriber() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    RETURN (EXISTS (SELECT FROM (pg_depend d JOIN pg_rewrite r ON ((r.oid = d.objid))) WHERE ((d.classid = ('pg_rewrite'::regclass)::oid) AND (d.refclassid = ('pg_class'::regclass)::oid) AND (d.refobjid = (to_regclass('directory_of_subscriber'::text))::oid) AND (r.ev_class = (to_regclass('directory'::text))::oid))));

CREATE FUNCTION public.flush_holders(server_id integer, nodes integer[], replicated boolean) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((NOT replicated) AND (server_id = ANY (nodes))) THEN ARRAY[server_id] ELSE nodes END;

CREATE FUNCTION public.hostport_host(hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (hostport ~~ '[%'::text) THEN (split_part(hostport, ']'::text, 1) || ']'::text) ELSE split_part(hostport, ':'::text, 1) END;

CREATE FUNCTION public.hostport_is_plain(hostport text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hostport ~ '^[0-9A-Za-z.-]+(?::[0-9]+)?$'::text);

CREATE FUNCTION public.hostport_port(hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULLIF(CASE WHEN (hostport ~~ '[%'::text) THEN split_part(hostport, ']:'::text, 2) ELSE split_part(hostport, ':'::text, 2) END, ''::text);

CREATE FUNCTION public.kamailio_default_realm() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULL::text;

CREATE FUNCTION public.kamailio_timezone() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'UTC'::text;

CREATE FUNCTION public.note_disabled() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    new.disabled_at = now();
    return new;
end $$;

CREATE FUNCTION public.registered_before(modified_epoch bigint, changed_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (((modified_epoch)::numeric <= EXTRACT(epoch FROM changed_at)) AND ((changed_at <= now()) OR ((modified_epoch)::numeric > EXTRACT(epoch FROM now()))));

CREATE FUNCTION public.registration_epoch(at bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN at;

CREATE FUNCTION public.registration_epoch(at timestamp without time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((at >= '1969-12-31 10:00:00'::timestamp without time zone) AND (at <= '1970-01-01 14:00:00'::timestamp without time zone)) THEN (0)::bigint ELSE (floor(EXTRACT(epoch FROM (at AT TIME ZONE public.kamailio_timezone()))))::bigint END;

CREATE FUNCTION public.registration_epoch(at timestamp with time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((at >= '1969-12-31 10:00:00+00'::timestamp with time zone) AND (at <= '1970-01-01 14:00:00+00'::timestamp with time zone)) THEN (0)::bigint ELSE (floor(EXTRACT(epoch FROM at)))::bigint END;

CREATE FUNCTION public.registration_is(modified_epoch bigint, cseq integer, flushed_epoch bigint, flushed_cseq integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((modified_epoch < flushed_epoch) OR ((modified_epoch = flushed_epoch) AND (cseq = flushed_cseq)));

CREATE FUNCTION public.registration_is(modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((modified_epoch < flushed_epoch) OR ((modified_epoch = flushed_epoch) AND (cseq = flushed_cseq) AND (callid = COALESCE(flushed_callid, callid))));

CREATE FUNCTION public.registration_lives(expires bigint) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((expires = 0) OR ((expires)::double precision > date_part('epoch'::text, now())));

CREATE FUNCTION public.sip_lower(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower((name COLLATE "C"));

CREATE FUNCTION public.sip_uri_transport(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((uri ~~ 'sip:%'::text) AND (strpos(uri, '?'::text) = 0) AND (split_part(uri, ';transport='::text, '-1'::integer) = ANY (ARRAY['udp'::text, 'tcp'::text, 'tls'::text, 'ws'::text]))) THEN split_part(uri, ';transport='::text, '-1'::integer) WHEN ((uri COLLATE "C") ~~* '%;transport=%'::text) THEN public.sip_lower("substring"((substr(uri, (strpos(uri, '@'::text) + 1)) COLLATE "C"), '(?i)^[^?]*;transport=([a-z-]+)'::text)) ELSE NULL::text END;

CREATE FUNCTION public.registration_protocol(socket_protocol text, received text, contact text, path text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((socket_protocol IS NULL) AND (received IS NULL)) THEN NULL::text WHEN ((COALESCE(socket_protocol, 'tcp'::text) = ANY (ARRAY['tcp'::text, 'tls'::text])) AND (public.sip_uri_transport(COALESCE(received, CASE WHEN (COALESCE(path, ''::text) = ''::text) THEN contact ELSE NULL::text END)) = 'ws'::text)) THEN CASE WHEN (socket_protocol = 'tls'::text) THEN 'wss'::text ELSE 'ws'::text END ELSE COALESCE(socket_protocol, public.sip_uri_transport(received), 'udp'::text) END;

CREATE FUNCTION public.registration_shows(expires bigint, modified_epoch bigint, cseq integer, flushed_epoch bigint, flushed_cseq integer) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (((expires = 0) OR ((expires)::double precision > date_part('epoch'::text, now()))) AND ((flushed_epoch IS NULL) OR (modified_epoch > flushed_epoch) OR ((modified_epoch = flushed_epoch) AND (cseq <> flushed_cseq))));

CREATE FUNCTION public.registration_shows(expires bigint, modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (((expires = 0) OR ((expires)::double precision > date_part('epoch'::text, now()))) AND ((flushed_epoch IS NULL) OR (modified_epoch > flushed_epoch) OR ((modified_epoch = flushed_epoch) AND ((cseq <> flushed_cseq) OR (callid <> COALESCE(flushed_callid, callid))))));

CREATE FUNCTION public.registration_text(stored text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN stored;

CREATE FUNCTION public.registrations_count(wanted_account text) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_generic_plan'
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    if exists (select from location l where l.enriched_at is null) then
        return (select count(*) from live_location l where l.account_id between wanted_account and wanted_account);
    end if;
    return (
        select count(*)
        from location l
        where l.account_id between wanted_account and wanted_account
            and registration_shows(
                registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, l.callid, l.flushed_epoch,
                l.flushed_cseq, l.flushed_callid
            )
    );
end $$;

CREATE FUNCTION public.sip_uri_address(uri text) RETURNS inet
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (uri !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet WHEN (substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '^[0-9.]+'::text))::inet WHEN ((substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~~ '[%'::text) AND (substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet ELSE NULL::inet END;

CREATE FUNCTION public.sip_uri_hostport(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (((uri COLLATE "C") ~~* 'sip:%'::text) OR ((uri COLLATE "C") ~~* 'sips:%'::text)) THEN "substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '^((?:\[[^]]+\]|[^]\[:;?>@]+)(?::[0-9]+)?)(?:[;?>]|$)'::text) ELSE NULL::text END;

CREATE FUNCTION public.sip_uri_middle(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (uri ~~ 'sip:%'::text) THEN split_part("right"(uri, (- COALESCE(NULLIF(strpos(uri, '@'::text), 0), 4))), ';'::text, 1) ELSE NULL::text END;

CREATE FUNCTION public.sip_uri_port(uri text, hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (hostport IS NOT NULL) THEN COALESCE(public.hostport_port(hostport), CASE WHEN (((uri COLLATE "C") ~~* 'sips:%'::text) OR (public.sip_uri_transport(uri) = 'tls'::text)) THEN '5061'::text ELSE '5060'::text END) ELSE NULL::text END;

CREATE FUNCTION public.token_access(given_hash bytea, wanted_account text) RETURNS TABLE(token_hash bytea, account_id text, superduper_admin boolean, wanted_exists boolean, wanted_in_tree boolean, restrictions jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    if not current_setting('transaction_read_only')::boolean then
        update auth_token t set last_used_at = now()
        where t.id = (
            select u.id
            from auth_token u
            where u.token_hash = given_hash
                and u.last_used_at < now() - least(interval '1 minute', u.idle_lifetime / 10)
                and (u.idle_lifetime is null or u.last_used_at + u.idle_lifetime > now())
            for no key update skip locked
        );
        if found then
            perform set_config('synchronous_commit', 'off', true);
        end if;
    end if;
    return query
    select
        t.token_hash, t.account_id::text, a.superduper_admin,
        exists (select from account w where w.id = wanted_account),
        exists (
            with recursive above (id, parent_id) as (
                select w.id::text, w.parent_id::text from account w where w.id = wanted_account
                union
                select p.id::text, p.parent_id::text from account p join above on p.id = above.parent_id
            )
            select from above where above.id = t.account_id
        ),
        t.restrictions
    from auth_token t
    join account a on a.id = t.account_id
    where t.token_hash = given_hash
        and a.enabled
        and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
end $$;

CREATE TABLE public.account (
    id public.identifier NOT NULL,
    parent_id public.identifier,
    name text NOT NULL,
    realm public.realm NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    superduper_admin boolean DEFAULT false NOT NULL,
    api_key_hash bytea,
    disabled_at timestamp with time zone,
    automatic boolean DEFAULT false NOT NULL,
    CONSTRAINT account_api_key_hash_check CHECK ((length(api_key_hash) = 32))
);

CREATE TABLE public.auth_token (
    id bigint NOT NULL,
    token_hash bytea NOT NULL,
    account_id public.identifier NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone DEFAULT now() NOT NULL,
    idle_lifetime interval,
    restrictions jsonb,
    CONSTRAINT auth_token_idle_lifetime_check CHECK ((idle_lifetime > '00:00:00'::interval)),
    CONSTRAINT auth_token_restrictions_check CHECK ((jsonb_typeof(restrictions) = 'object'::text)),
    CONSTRAINT auth_token_token_hash_check CHECK ((length(token_hash) = 32))
);

CREATE FUNCTION public.token_from_api_key(given_key_hash bytea, new_token_hash bytea, new_idle_lifetime interval, new_restrictions jsonb) RETURNS TABLE(account_id text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO public.auth_token (token_hash, account_id, note, idle_lifetime, restrictions)  SELECT token_from_api_key.new_token_hash AS new_token_hash,
             a.id,
             'api_auth',
             token_from_api_key.new_idle_lifetime AS new_idle_lifetime,
             token_from_api_key.new_restrictions AS new_restrictions
            FROM public.account a
           WHERE ((a.api_key_hash = token_from_api_key.given_key_hash) AND a.enabled)
   RETURNING (auth_token.account_id)::text AS account_id;
END;

CREATE FUNCTION public.token_revoke(given_hash bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    BEGIN ATOMIC
 DELETE FROM public.auth_token t
   WHERE (t.token_hash = token_revoke.given_hash);
END;

CREATE FUNCTION public.unfolded(header text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((strpos(header, '
'::text) > 0) OR (strpos(header, '
'::text) > 0)) THEN regexp_replace(header, '[ \t]*[\r\n][ \t\r\n]*'::text, ' '::text, 'g'::text) ELSE header END;

ALTER TABLE public.auth_token ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.auth_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.device (
    id public.identifier NOT NULL,
    account_id public.identifier NOT NULL,
    owner_id public.identifier,
    name text DEFAULT ''::text NOT NULL,
    sip_username text NOT NULL,
    sip_realm public.realm,
    account_realm public.realm NOT NULL,
    realm text GENERATED ALWAYS AS (COALESCE(sip_realm, account_realm)) STORED NOT NULL,
    ha1 text,
    enabled boolean DEFAULT true NOT NULL,
    presence_id text,
    suppress_unregister_notify boolean DEFAULT true NOT NULL,
    register_overwrite_notify boolean DEFAULT false NOT NULL,
    credentials_changed_at timestamp with time zone,
    disabled_at timestamp with time zone,
    CONSTRAINT device_ha1_check CHECK ((ha1 ~ '^[0-9a-f]{32}$'::text)),
    CONSTRAINT device_sip_username_check CHECK ((sip_username ~ '^[\u0020-\u007e]{1,64}$'::text))
);

CREATE TABLE public.fingerprint_key (
    only_one boolean DEFAULT true NOT NULL,
    key text NOT NULL,
    CONSTRAINT fingerprint_key_only_one_check CHECK (only_one)
);

CREATE VIEW public.device_credentials AS
 SELECT public.sip_lower(d.sip_username) AS username,
    d.realm,
    "left"(md5((k.key || d.ha1)), 16) AS fingerprint,
    d.credentials_changed_at AS changed_at,
    GREATEST(d.disabled_at, a.disabled_at) AS disabled_at
   FROM ((public.device d
     JOIN public.account a ON (((a.id)::text = (d.account_id)::text)))
     CROSS JOIN public.fingerprint_key k);

CREATE TABLE public.owner (
    id public.identifier NOT NULL,
    account_id public.identifier NOT NULL,
    name text DEFAULT ''::text NOT NULL
);

CREATE VIEW public.directory AS
 SELECT public.sip_lower(d.sip_username) AS username,
    d.realm,
    (d.id)::text AS device_id,
    d.name AS device_name,
    (d.account_id)::text AS account_id,
    a.name AS account_name,
    (a.realm)::text AS account_realm,
    (d.owner_id)::text AS owner_id,
    o.name AS owner_name,
    (d.enabled AND a.enabled) AS enabled,
    d.presence_id,
    d.suppress_unregister_notify,
    d.register_overwrite_notify
   FROM ((public.device d
     JOIN public.account a ON (((a.id)::text = (d.account_id)::text)))
     LEFT JOIN public.owner o ON (((o.id)::text = (d.owner_id)::text)));

CREATE TABLE public.flush (
    id text DEFAULT replace((gen_random_uuid())::text, '-'::text, ''::text) NOT NULL,
    "position" bigint NOT NULL,
    account_id text NOT NULL,
    username text,
    cause text NOT NULL,
    requested_by text NOT NULL,
    request_id text,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    bindings integer DEFAULT 0 NOT NULL,
    superseded integer DEFAULT 0 NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT flush_cause_check CHECK ((cause = ANY (ARRAY['request'::text, 'command'::text, 'disabled'::text, 'deleted'::text, 'moved'::text, 'credentials'::text])))
);

CREATE TABLE public.flush_binding (
    id bigint NOT NULL,
    flush_id text NOT NULL,
    ruid text,
    username text NOT NULL,
    domain text,
    server_id integer,
    modified_epoch bigint NOT NULL,
    cseq integer NOT NULL,
    expires_epoch bigint,
    shown boolean NOT NULL,
    confirmed integer[] DEFAULT '{}'::integer[] NOT NULL,
    settled_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone NOT NULL,
    seen_epoch bigint,
    seen_cseq integer,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_callid text
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');

ALTER TABLE public.flush_binding ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.flush_binding_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.flush_node (
    flush_id text NOT NULL,
    node integer NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    attempted_at timestamp with time zone,
    confirmed_at timestamp with time zone,
    last_error text
);

ALTER TABLE public.flush ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.flush_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.kamailio_node (
    server_id integer NOT NULL,
    name text NOT NULL,
    hostname text NOT NULL
);

CREATE TABLE public.leader (
    only_one boolean DEFAULT true NOT NULL,
    term bigint NOT NULL,
    pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    CONSTRAINT leader_only_one_check CHECK (only_one)
);

CREATE VIEW public.leading_session AS
 SELECT l.term,
    a.pid,
    a.state_change
   FROM (public.leader l
     LEFT JOIN pg_stat_activity a ON (((a.pid = l.pid) AND (COALESCE(a.backend_start, l.backend_start) = l.backend_start) AND (a.application_name = 'registrations-sync leader'::text) AND has_table_privilege(a.usesysid, l.tableoid, 'update'::text))));

CREATE TABLE public.location (
    id bigint NOT NULL,
    ruid character varying(64) DEFAULT ''::character varying NOT NULL,
    username character varying(64) DEFAULT ''::character varying NOT NULL,
    domain character varying(64) DEFAULT NULL::character varying,
    contact character varying(512) DEFAULT ''::character varying NOT NULL,
    received character varying(128) DEFAULT NULL::character varying,
    path character varying(512) DEFAULT NULL::character varying,
    expires bigint DEFAULT 0 NOT NULL,
    q real DEFAULT 1.0 NOT NULL,
    callid character varying(255) DEFAULT 'Default-Call-ID'::character varying NOT NULL,
    cseq integer DEFAULT 1 NOT NULL,
    last_modified bigint DEFAULT 0 NOT NULL,
    flags integer DEFAULT 0 NOT NULL,
    cflags integer DEFAULT 0 NOT NULL,
    user_agent character varying(255) DEFAULT ''::character varying NOT NULL,
    socket character varying(64) DEFAULT NULL::character varying,
    methods integer,
    instance character varying(255) DEFAULT NULL::character varying,
    reg_id integer DEFAULT 0 NOT NULL,
    server_id integer DEFAULT 0 NOT NULL,
    connection_id integer DEFAULT 0 NOT NULL,
    keepalive integer DEFAULT 0 NOT NULL,
    partition integer DEFAULT 0 NOT NULL,
    account_id text,
    device_id text,
    owner_id text,
    enriched_at timestamp with time zone,
    first_registered_at timestamp with time zone DEFAULT now(),
    flushed_epoch bigint,
    flushed_cseq integer,
    device_state text,
    flushed_callid text
)
WITH (fillfactor='75', autovacuum_vacuum_scale_factor='0.05');

CREATE VIEW public.location_directory AS
 SELECT l.id,
    COALESCE(d.account_id, (a.id)::text) AS account_id,
    d.device_id,
    d.owner_id,
    l.ruid,
    l.username,
    l.domain,
    l.contact,
    l.received,
    l.path,
    l.expires,
    l.callid,
    l.cseq,
    l.last_modified,
    l.user_agent,
    l.socket,
    l.instance,
    l.server_id,
    l.enriched_at,
    l.first_registered_at,
    l.flushed_epoch,
    l.flushed_cseq,
    l.flushed_callid
   FROM (((public.location l
     CROSS JOIN ( SELECT COALESCE(public.kamailio_default_realm(), ( SELECT
                        CASE
                            WHEN (min((account.realm)::text) = max((account.realm)::text)) THEN min((account.realm)::text)
                            ELSE NULL::text
                        END AS "case"
                   FROM public.account)) AS realm) fallback)
     LEFT JOIN public.directory d ON (((d.username = public.sip_lower(public.aor_username((l.username)::text, (l.domain)::text))) AND (d.realm = public.sip_lower(COALESCE(public.aor_realm((l.domain)::text), fallback.realm))))))
     LEFT JOIN public.account a ON (((a.realm)::text = public.sip_lower(COALESCE(public.aor_realm((l.domain)::text), fallback.realm)))));

CREATE VIEW public.live_location AS
 SELECT l.id,
    l.account_id,
    l.device_id,
    l.owner_id,
    public.aor_realm((l.domain)::text) AS realm,
    public.registration_epoch(l.expires) AS expires_epoch,
    public.registration_epoch(l.last_modified) AS modified_epoch,
    l.first_registered_at,
    l.ruid,
    public.aor_username((l.username)::text, (l.domain)::text) AS username,
    l.contact,
    l.received,
    l.path,
    l.callid,
    l.user_agent,
    l.socket,
    l.instance,
    l.server_id
   FROM public.location l
  WHERE ((l.enriched_at IS NOT NULL) AND public.registration_shows(public.registration_epoch(l.expires), public.registration_epoch(l.last_modified), l.cseq, (l.callid)::text, l.flushed_epoch, l.flushed_cseq, l.flushed_callid))
UNION ALL
 SELECT e.id,
    e.account_id,
    e.device_id,
    e.owner_id,
    public.aor_realm((e.domain)::text) AS realm,
    public.registration_epoch(e.expires) AS expires_epoch,
    public.registration_epoch(e.last_modified) AS modified_epoch,
    e.first_registered_at,
    e.ruid,
    public.aor_username((e.username)::text, (e.domain)::text) AS username,
    e.contact,
    e.received,
    e.path,
    e.callid,
    e.user_agent,
    e.socket,
    e.instance,
    e.server_id
   FROM public.location_directory e
  WHERE ((e.enriched_at IS NULL) AND public.registration_shows(public.registration_epoch(e.expires), public.registration_epoch(e.last_modified), e.cseq, (e.callid)::text, e.flushed_epoch, e.flushed_cseq, e.flushed_callid));

CREATE TABLE public.registration_source (
    ruid text NOT NULL,
    received text,
    from_user text,
    from_host text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE VIEW public.live_location_address AS
 SELECT l.account_id,
    l.device_id,
    l.owner_id,
    l.realm,
    l.expires_epoch,
    l.modified_epoch,
    l.first_registered_at,
    l.ruid,
    l.username,
    l.contact,
    l.path,
    l.user_agent,
    l.socket,
    l.server_id,
    (l.received)::text AS source,
    (l.received)::text AS source_received,
    public.sip_uri_address((l.received)::text) AS source_address
   FROM public.live_location l
  WHERE ((l.received)::text <> ''::text)
UNION ALL
 SELECT l.account_id,
    l.device_id,
    l.owner_id,
    l.realm,
    l.expires_epoch,
    l.modified_epoch,
    l.first_registered_at,
    l.ruid,
    l.username,
    l.contact,
    l.path,
    l.user_agent,
    l.socket,
    l.server_id,
    s.received AS source,
    s.received AS source_received,
    public.sip_uri_address(s.received) AS source_address
   FROM (public.live_location l
     JOIN public.registration_source s ON ((s.ruid = (l.ruid)::text)))
  WHERE (((COALESCE(l.received, ''::character varying))::text = ''::text) AND (s.received IS NOT NULL))
UNION ALL
 SELECT l.account_id,
    l.device_id,
    l.owner_id,
    l.realm,
    l.expires_epoch,
    l.modified_epoch,
    l.first_registered_at,
    l.ruid,
    l.username,
    l.contact,
    l.path,
    l.user_agent,
    l.socket,
    l.server_id,
    (l.contact)::text AS source,
    NULL::text AS source_received,
    public.sip_uri_address((l.contact)::text) AS source_address
   FROM public.live_location l
  WHERE (((COALESCE(l.received, ''::character varying))::text = ''::text) AND (NOT (EXISTS ( SELECT
           FROM public.registration_source s
          WHERE ((s.ruid = (l.ruid)::text) AND (s.received IS NOT NULL))))));

CREATE TABLE public.location_attrs (
    id bigint NOT NULL,
    ruid character varying(64) DEFAULT ''::character varying NOT NULL,
    username character varying(64) DEFAULT ''::character varying NOT NULL,
    domain character varying(64) DEFAULT NULL::character varying,
    aname character varying(64) DEFAULT ''::character varying NOT NULL,
    atype integer DEFAULT 0 NOT NULL,
    avalue character varying(512) DEFAULT ''::character varying NOT NULL,
    last_modified bigint DEFAULT 0 NOT NULL
);

CREATE SEQUENCE public.location_attrs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.location_attrs_id_seq OWNED BY public.location_attrs.id;

CREATE VIEW public.location_enrichment AS
 SELECT l.id,
    COALESCE(d.account_id, a.id) AS account_id,
    d.device_id,
    d.owner_id,
    (
        CASE
            WHEN ((d.device_id IS NULL) AND (a.id IS NULL)) THEN NULL::text
            WHEN COALESCE(d.enabled, a.enabled) THEN 'enabled'::text
            ELSE 'disabled'::text
        END || COALESCE((' '::text ||
        CASE
            WHEN a.automatic THEN 'automatic'::text
            ELSE c.fingerprint
        END), ''::text)) AS device_state,
    c.changed_at AS credentials_changed_at,
    COALESCE(c.disabled_at, a.disabled_at) AS disabled_at,
    l.account_id AS row_account_id,
    l.device_id AS row_device_id,
    l.owner_id AS row_owner_id,
    l.device_state AS row_device_state,
    l.enriched_at
   FROM ((((public.location l
     CROSS JOIN ( SELECT COALESCE(public.kamailio_default_realm(), ( SELECT
                        CASE
                            WHEN (min((account.realm)::text) = max((account.realm)::text)) THEN min((account.realm)::text)
                            ELSE NULL::text
                        END AS "case"
                   FROM public.account)) AS realm) fallback)
     LEFT JOIN public.directory d ON (((d.username = public.sip_lower(public.aor_username((l.username)::text, (l.domain)::text))) AND (d.realm = public.sip_lower(COALESCE(public.aor_realm((l.domain)::text), fallback.realm))))))
     LEFT JOIN public.device_credentials c ON (((c.username = d.username) AND (c.realm = d.realm))))
     LEFT JOIN LATERAL ( SELECT (account.id)::text AS id,
            account.enabled,
            account.automatic,
            account.disabled_at
           FROM public.account
          WHERE ((account.realm)::text = public.sip_lower(COALESCE(public.aor_realm((l.domain)::text), fallback.realm)))
         LIMIT 1) a ON (true));

CREATE SEQUENCE public.location_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.location_id_seq OWNED BY public.location.id;

CREATE VIEW public.registration_from AS
 SELECT registration_source.ruid,
    registration_source.from_user,
    registration_source.from_host,
    registration_source.updated_at
   FROM public.registration_source;

CREATE VIEW public.registrations AS
 SELECT l.id,
    l.account_id,
    COALESCE(a.name, ''::text) AS account_name,
    COALESCE((a.realm)::text, ''::text) AS account_realm,
    COALESCE(l.device_id, ''::text) AS authorizing_id,
    'device'::text AS authorizing_type,
    public.unfolded((l.callid)::text) AS call_id,
    u.contact,
    COALESCE(public.hostport_host(u.contact_at), ''::text) AS contact_ip,
    COALESCE(public.sip_uri_port(u.contact, u.contact_at), ''::text) AS contact_port,
    (t.event + '62167219200'::bigint) AS event_timestamp,
    t.lifetime AS expires,
    false AS first_registration,
    COALESCE(public.unfolded(f.from_host), t.realm) AS from_host,
    COALESCE(public.unfolded(f.from_user), l.username) AS from_user,
    (LEAST(t.event, (floor(date_part('epoch'::text, l.first_registered_at)))::bigint) + '62167219200'::bigint) AS initial_registration,
    (t.event + '62167219200'::bigint) AS last_registration,
    COALESCE(public.hostport_host(u.source_at), 'undefined'::text) AS network_ip,
    COALESCE(public.sip_uri_port(u.source, u.source_at), 'undefined'::text) AS network_port,
        CASE
            WHEN (strpos(u.contact, ';alias='::text) > 0) THEN regexp_replace(u.contact, ';alias=[^;?~]+~[0-9]+~[1-9](?=[;?]|$)'::text, ''::text)
            ELSE u.contact
        END AS original_contact,
    COALESCE(l.owner_id, ''::text) AS owner_id,
    NULLIF(d.presence_id, ''::text) AS presence_id,
    COALESCE(
        CASE
            WHEN (u.socket_at ~~ ANY (ARRAY['0.0.0.0:%'::text, '[::]:%'::text])) THEN n.hostname
            ELSE public.hostport_host(u.socket_at)
        END, ''::text) AS proxy_ip,
    COALESCE(public.hostport_port(u.socket_at), ''::text) AS proxy_port,
    public.registration_protocol(u.socket_protocol, u.received, u.contact, (l.path)::text) AS proxy_protocol,
    NULLIF(public.unfolded((l.path)::text), ''::text) AS proxy_path,
    t.realm,
    COALESCE(d.register_overwrite_notify, false) AS register_overwrite_notify,
    NULLIF(n.hostname, ''::text) AS registrar_hostname,
    NULLIF(n.name, ''::text) AS registrar_node,
    public.hostport_host(u.source_at) AS source_ip,
    public.sip_uri_port(u.source, u.source_at) AS source_port,
    COALESCE(d.suppress_unregister_notify, true) AS suppress_unregister_notify,
    t.realm AS to_host,
    l.username AS to_user,
    public.unfolded((l.user_agent)::text) AS user_agent,
    l.username,
    l.ruid,
    l.server_id,
    to_timestamp((t.event)::double precision) AS registered_at,
    to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) AS expires_at
   FROM ((((((public.live_location l
     LEFT JOIN public.account a ON (((a.id)::text = l.account_id)))
     LEFT JOIN LATERAL ( SELECT d_1.presence_id,
            d_1.suppress_unregister_notify,
            d_1.register_overwrite_notify
           FROM public.directory d_1
          WHERE ((d_1.device_id = l.device_id) AND (d_1.username = public.sip_lower(l.username)) AND (d_1.realm = public.sip_lower(COALESCE(l.realm, public.kamailio_default_realm(), (a.realm)::text))) AND ((d_1.presence_id IS NOT NULL) OR (NOT d_1.suppress_unregister_notify) OR d_1.register_overwrite_notify))
         OFFSET 0) d ON (true))
     LEFT JOIN LATERAL ( SELECT s.received,
            s.from_user,
            s.from_host
           FROM public.registration_source s
          WHERE ((s.ruid = (l.ruid)::text) AND ((((COALESCE(l.received, ''::character varying))::text = ''::text) AND ( SELECT (EXISTS ( SELECT
                           FROM public.registration_source)) AS "exists")) OR ( SELECT (EXISTS ( SELECT
                           FROM public.registration_source
                          WHERE ((registration_source.from_user IS NOT NULL) OR (registration_source.from_host IS NOT NULL)))) AS "exists")))
         OFFSET 0) f ON (true))
     LEFT JOIN ( SELECT kamailio_node.server_id,
            kamailio_node.name,
            kamailio_node.hostname
           FROM public.kamailio_node
         OFFSET 0) n ON ((n.server_id = l.server_id)))
     CROSS JOIN LATERAL ( SELECT s.contact,
            s.received,
            COALESCE(s.received, s.contact) AS source,
                CASE
                    WHEN public.hostport_is_plain(s.contact_middle) THEN s.contact_middle
                    ELSE public.sip_uri_hostport(s.contact)
                END AS contact_at,
                CASE
                    WHEN public.hostport_is_plain(s.source_middle) THEN s.source_middle
                    ELSE public.sip_uri_hostport(COALESCE(s.received, s.contact))
                END AS source_at,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:%'::text, 'tcp:%'::text, 'tls:%'::text])) THEN "left"((l.socket)::text, 3)
                    ELSE public.sip_lower("substring"((l.socket)::text, '^([a-zA-Z]+):'::text))
                END AS socket_protocol,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:_%'::text, 'tcp:_%'::text, 'tls:_%'::text])) THEN "right"((l.socket)::text, '-4'::integer)
                    ELSE "substring"((l.socket)::text, '^[a-zA-Z]+:(.+)$'::text)
                END AS socket_at
           FROM ( SELECT c.contact,
                    c.received,
                    public.sip_uri_middle(c.contact) AS contact_middle,
                    public.sip_uri_middle(COALESCE(c.received, c.contact)) AS source_middle
                   FROM ( SELECT public.unfolded((l.contact)::text) AS contact,
                            COALESCE(NULLIF((l.received)::text, ''::text), f.received) AS received
                         OFFSET 0) c
                 OFFSET 0) s
         OFFSET 0) u)
     CROSS JOIN LATERAL ( SELECT e.event,
                CASE l.expires_epoch
                    WHEN 0 THEN (0)::bigint
                    ELSE GREATEST((l.expires_epoch - e.event), (0)::bigint)
                END AS lifetime,
            COALESCE(l.realm, public.kamailio_default_realm(), (a.realm)::text, ''::text) AS realm
           FROM ( SELECT COALESCE(NULLIF(l.modified_epoch, 0), (floor(date_part('epoch'::text, l.first_registered_at)))::bigint, (0)::bigint) AS event) e) t);

CREATE VIEW public.report_device AS
 SELECT d.account_id,
    NULLIF(d.account_name, ''::text) AS account_name,
    d.device_id,
    NULLIF(d.device_name, ''::text) AS device_name,
    d.owner_id,
    NULLIF(d.owner_name, ''::text) AS owner_name,
    d.username,
    d.realm,
    d.enabled,
        CASE
            WHEN (NOT d.enabled) THEN LEAST(
            CASE
                WHEN (NOT a.enabled) THEN a.disabled_at
                ELSE NULL::timestamp with time zone
            END,
            CASE
                WHEN (NOT v.enabled) THEN v.disabled_at
                ELSE NULL::timestamp with time zone
            END)
            ELSE NULL::timestamp with time zone
        END AS disabled_at,
    (r.registrations IS NOT NULL) AS registered,
    COALESCE(r.registrations, (0)::bigint) AS registrations,
    r.first_registered_at,
    r.last_registered_at,
    r.expires_at
   FROM (((public.directory d
     LEFT JOIN public.account a ON (((a.id)::text = d.account_id)))
     LEFT JOIN public.device v ON ((((v.id)::text = d.device_id) AND ((v.account_id)::text = d.account_id))))
     LEFT JOIN ( SELECT l.account_id,
            l.device_id,
            count(*) AS registrations,
            min(LEAST(date_trunc('second'::text, l.first_registered_at), to_timestamp((NULLIF(l.modified_epoch, 0))::double precision))) AS first_registered_at,
            max(COALESCE(to_timestamp((NULLIF(l.modified_epoch, 0))::double precision), date_trunc('second'::text, l.first_registered_at))) AS last_registered_at,
                CASE
                    WHEN (min(l.expires_epoch) > 0) THEN to_timestamp((max(l.expires_epoch))::double precision)
                    ELSE NULL::timestamp with time zone
                END AS expires_at
           FROM public.live_location l
          WHERE (l.device_id IS NOT NULL)
          GROUP BY l.account_id, l.device_id) r ON (((r.account_id = d.account_id) AND (r.device_id = d.device_id))));

CREATE VIEW public.report_account AS
 SELECT (a.id)::text AS account_id,
    NULLIF(a.name, ''::text) AS account_name,
    (a.realm)::text AS realm,
    (a.parent_id)::text AS parent_id,
    NULLIF(p.name, ''::text) AS parent_name,
    a.enabled,
        CASE
            WHEN (NOT a.enabled) THEN a.disabled_at
            ELSE NULL::timestamp with time zone
        END AS disabled_at,
    COALESCE(d.devices, (0)::bigint) AS devices,
    COALESCE(d.devices_disabled, (0)::bigint) AS devices_disabled,
    COALESCE(d.devices_registered, (0)::bigint) AS devices_registered,
    COALESCE(d.devices_silent, (0)::bigint) AS devices_silent,
    round(((100.0 * (((d.devices - d.devices_disabled) - d.devices_silent))::numeric) / (NULLIF((d.devices - d.devices_disabled), 0))::numeric), 1) AS registered_percent,
    COALESCE(r.registrations, (0)::bigint) AS registrations,
    COALESCE(r.without_device, (0)::bigint) AS registrations_without_device
   FROM (((public.account a
     LEFT JOIN public.account p ON (((p.id)::text = (a.parent_id)::text)))
     LEFT JOIN ( SELECT e.account_id,
            count(DISTINCT e.device_id) AS devices,
            count(DISTINCT e.device_id) FILTER (WHERE (NOT e.enabled)) AS devices_disabled,
            count(DISTINCT e.device_id) FILTER (WHERE e.registered) AS devices_registered,
            count(DISTINCT e.device_id) FILTER (WHERE (e.enabled AND (NOT e.registered))) AS devices_silent
           FROM public.report_device e
          GROUP BY e.account_id) d ON ((d.account_id = (a.id)::text)))
     LEFT JOIN ( SELECT l.account_id,
            count(*) AS registrations,
            count(*) FILTER (WHERE (l.device_id IS NULL)) AS without_device
           FROM public.live_location l
          GROUP BY l.account_id) r ON ((r.account_id = (a.id)::text)));

CREATE VIEW public.report_flush AS
 SELECT f.id AS flush_id,
    f.account_id,
    NULLIF(a.name, ''::text) AS account_name,
    f.username,
    f.cause,
    f.requested_by,
    f.requested_at,
    f.finished_at,
    f.bindings AS registrations,
    ((f.bindings - b.pending) - f.superseded) AS flushed,
    b.pending,
    f.superseded,
        CASE
            WHEN (f.finished_at IS NOT NULL) THEN 100
            WHEN (f.bindings > 0) THEN (floor(((100.0 * ((f.bindings - b.pending))::numeric) / (f.bindings)::numeric)))::integer
            ELSE NULL::integer
        END AS percent_done,
    n.nodes,
    n.nodes_pending,
    n.attempts,
    n.last_error
   FROM (((public.flush f
     LEFT JOIN public.account a ON (((a.id)::text = f.account_id)))
     CROSS JOIN LATERAL ( SELECT (count(*))::integer AS pending
           FROM public.flush_binding b_1
          WHERE ((b_1.flush_id = f.id) AND b_1.shown AND (b_1.settled_at IS NULL) AND (NOT COALESCE((b_1.server_id = ANY (b_1.confirmed)), false)))) b)
     CROSS JOIN LATERAL ( SELECT count(*) AS nodes,
            string_agg(COALESCE(NULLIF(k.name, ''::text), (m.node)::text), ', '::text ORDER BY m.node) FILTER (WHERE (m.confirmed_at IS NULL)) AS nodes_pending,
            max(m.attempts) AS attempts,
            string_agg(m.last_error, '; '::text ORDER BY m.node) FILTER (WHERE (m.confirmed_at IS NULL)) AS last_error
           FROM (public.flush_node m
             LEFT JOIN public.kamailio_node k ON ((k.server_id = m.node)))
          WHERE (m.flush_id = f.id)) n);

CREATE TABLE public.user_agent_rule (
    prefix text NOT NULL COLLATE pg_catalog."C",
    vendor text NOT NULL,
    pattern text
);

CREATE VIEW public.report_registration AS
 SELECT l.account_id,
    NULLIF(a.name, ''::text) AS account_name,
    l.device_id,
    NULLIF(d.device_name, ''::text) AS device_name,
    l.owner_id,
    NULLIF(COALESCE(d.owner_name, o.name), ''::text) AS owner_name,
    NULLIF(l.username, ''::text) AS username,
    t.realm,
    u.parts[1] AS vendor,
    NULLIF(u.parts[2], ''::text) AS model,
    NULLIF(u.parts[3], ''::text) AS firmware,
    t.user_agent,
    l.source_address AS network_address,
        CASE
            WHEN (p.network_port ~ '^(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$'::text) THEN (p.network_port)::integer
            ELSE NULL::integer
        END AS network_port,
    NULLIF(t.contact, ''::text) AS contact,
    public.sip_uri_address((l.contact)::text) AS contact_address,
    public.registration_protocol(p.socket_protocol, l.source_received, t.contact, (l.path)::text) AS protocol,
    NULLIF(l.server_id, 0) AS server_id,
    NULLIF(k.name, ''::text) AS node,
    LEAST(date_trunc('second'::text, l.first_registered_at), t.last_registered_at) AS first_registered_at,
    t.last_registered_at,
    to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) AS expires_at,
    date_trunc('second'::text, (to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) - now())) AS expires_in,
    (l.ruid)::text AS ruid
   FROM (((((((public.live_location_address l
     LEFT JOIN public.account a ON (((a.id)::text = l.account_id)))
     LEFT JOIN public.owner o ON ((((o.id)::text = l.owner_id) AND ((o.account_id)::text = l.account_id))))
     LEFT JOIN ( SELECT kamailio_node.server_id,
            kamailio_node.name,
            kamailio_node.hostname
           FROM public.kamailio_node
         OFFSET 0) k ON ((k.server_id = l.server_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(l.realm, public.kamailio_default_realm(), (a.realm)::text) AS realm,
            NULLIF(NULLIF(public.unfolded((l.user_agent)::text), ''::text), 'n/a'::text) AS user_agent,
            public.unfolded((l.contact)::text) AS contact,
            COALESCE(to_timestamp((NULLIF(l.modified_epoch, 0))::double precision), date_trunc('second'::text, l.first_registered_at)) AS last_registered_at) t)
     LEFT JOIN public.directory d ON (((d.account_id = l.account_id) AND (d.device_id = l.device_id) AND (d.username = public.sip_lower(l.username)) AND (d.realm = public.sip_lower(t.realm)))))
     CROSS JOIN LATERAL ( SELECT ( SELECT
                        CASE
                            WHEN starts_with(x.lower_agent, r.prefix) THEN (ARRAY[r.vendor] || regexp_match((x.user_agent COLLATE "C"), ('(?i)'::text || r.pattern)))
                            ELSE NULL::text[]
                        END AS "case"
                   FROM public.user_agent_rule r
                  WHERE (r.prefix <= x.lower_agent)
                  ORDER BY r.prefix DESC
                 LIMIT 1) AS parts
           FROM ( SELECT t.user_agent,
                    (lower((t.user_agent COLLATE "C")) COLLATE "C") AS lower_agent
                 OFFSET 0) x
         OFFSET 0) u)
     CROSS JOIN LATERAL ( SELECT public.sip_uri_port(s.source, s.source_at) AS network_port,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:%'::text, 'tcp:%'::text, 'tls:%'::text])) THEN "left"((l.socket)::text, 3)
                    ELSE lower(("substring"((l.socket)::text, '^([a-zA-Z]+):'::text) COLLATE "C"))
                END AS socket_protocol
           FROM ( SELECT m.source,
                        CASE
                            WHEN public.hostport_is_plain(m.middle) THEN m.middle
                            ELSE public.sip_uri_hostport(m.source)
                        END AS source_at
                   FROM ( SELECT public.unfolded(l.source) AS source,
                            public.sip_uri_middle(l.source) AS middle
                         OFFSET 0) m
                 OFFSET 0) s
         OFFSET 0) p);

CREATE TABLE public.subscriber (
    device_id public.identifier NOT NULL,
    username character varying(64) NOT NULL,
    domain character varying(253) NOT NULL,
    password character varying(64) DEFAULT ''::character varying NOT NULL,
    ha1 character varying(128) NOT NULL,
    ha1b character varying(128) DEFAULT "left"(encode(sha256((((gen_random_uuid())::text || (gen_random_uuid())::text))::bytea), 'hex'::text), 32) NOT NULL
);

CREATE TABLE public.version (
    id integer NOT NULL,
    table_name character varying(32) NOT NULL,
    table_version integer DEFAULT 0 NOT NULL
);

CREATE SEQUENCE public.version_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.version_id_seq OWNED BY public.version.id;

ALTER TABLE ONLY public.location ALTER COLUMN id SET DEFAULT nextval('public.location_id_seq'::regclass);

ALTER TABLE ONLY public.location_attrs ALTER COLUMN id SET DEFAULT nextval('public.location_attrs_id_seq'::regclass);

ALTER TABLE ONLY public.version ALTER COLUMN id SET DEFAULT nextval('public.version_id_seq'::regclass);

ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_api_key_hash_key UNIQUE (api_key_hash);

ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_id_realm_key UNIQUE (id, realm);

ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_realm_key UNIQUE (realm);

ALTER TABLE ONLY public.auth_token
    ADD CONSTRAINT auth_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.auth_token
    ADD CONSTRAINT auth_token_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.fingerprint_key
    ADD CONSTRAINT fingerprint_key_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY public.flush_binding
    ADD CONSTRAINT flush_binding_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.flush_node
    ADD CONSTRAINT flush_node_pkey PRIMARY KEY (flush_id, node);

ALTER TABLE ONLY public.flush
    ADD CONSTRAINT flush_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.kamailio_node
    ADD CONSTRAINT kamailio_node_pkey PRIMARY KEY (server_id);

ALTER TABLE ONLY public.leader
    ADD CONSTRAINT leader_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY public.location_attrs
    ADD CONSTRAINT location_attrs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.location
    ADD CONSTRAINT location_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.location
    ADD CONSTRAINT location_ruid_idx UNIQUE (ruid);

ALTER TABLE ONLY public.owner
    ADD CONSTRAINT owner_id_account_id_key UNIQUE (id, account_id);

ALTER TABLE ONLY public.owner
    ADD CONSTRAINT owner_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.registration_source
    ADD CONSTRAINT registration_source_pkey PRIMARY KEY (ruid);

ALTER TABLE ONLY public.subscriber
    ADD CONSTRAINT subscriber_pkey PRIMARY KEY (device_id);

ALTER TABLE ONLY public.user_agent_rule
    ADD CONSTRAINT user_agent_rule_pkey PRIMARY KEY (prefix);

ALTER TABLE ONLY public.version
    ADD CONSTRAINT version_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.version
    ADD CONSTRAINT version_table_name_idx UNIQUE (table_name);

CREATE INDEX account_parent_id_idx ON public.account USING btree (parent_id);

CREATE INDEX auth_token_account_id_idx ON public.auth_token USING btree (account_id);

CREATE INDEX device_account_id_idx ON public.device USING btree (account_id);

CREATE UNIQUE INDEX device_aor_idx ON public.device USING btree (lower((sip_username COLLATE "C")) COLLATE "default", realm);

CREATE INDEX device_owner_id_idx ON public.device USING btree (owner_id);

CREATE INDEX device_sip_realm_idx ON public.device USING btree (sip_realm) WHERE (sip_realm IS NOT NULL);

CREATE INDEX device_unusual_idx ON public.device USING btree (id) WHERE ((presence_id IS NOT NULL) OR (NOT suppress_unregister_notify) OR register_overwrite_notify);

CREATE INDEX flush_account_id_idx ON public.flush USING btree (account_id, "position");

CREATE INDEX flush_binding_due_at_idx ON public.flush_binding USING btree (due_at);

CREATE INDEX flush_binding_flush_id_idx ON public.flush_binding USING btree (flush_id);

CREATE INDEX flush_finished_at_idx ON public.flush USING btree (finished_at);

CREATE INDEX flush_unfinished_idx ON public.flush USING btree (account_id) WHERE (finished_at IS NULL);

CREATE INDEX location_account_contact_idx ON public.location USING btree (username, domain, contact);

CREATE INDEX location_account_id_idx ON public.location USING btree (account_id, id) WHERE (account_id IS NOT NULL);

CREATE INDEX location_attrs_account_record_idx ON public.location_attrs USING btree (username, domain, ruid);

CREATE INDEX location_attrs_last_modified_idx ON public.location_attrs USING btree (last_modified);

CREATE INDEX location_connection_idx ON public.location USING btree (server_id, connection_id);

CREATE INDEX location_contact_address_idx ON public.location USING btree ((
CASE
    WHEN ((contact)::text !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet
    WHEN (substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))), '^[0-9.]+'::text))::inet
    WHEN ((substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~~ '[%'::text) AND (substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet
    ELSE NULL::inet
END)) WHERE ((COALESCE(received, ''::character varying))::text = ''::text);

CREATE INDEX location_device_id_idx ON public.location USING btree (device_id) WHERE (device_id IS NOT NULL);

CREATE INDEX location_not_enriched_idx ON public.location USING btree (id) WHERE (enriched_at IS NULL);

CREATE INDEX location_received_address_idx ON public.location USING btree ((
CASE
    WHEN ((received)::text !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet
    WHEN (substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))), '^[0-9.]+'::text))::inet
    WHEN ((substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~~ '[%'::text) AND (substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet
    ELSE NULL::inet
END)) WHERE ((received)::text <> ''::text);

CREATE INDEX location_tcpcon_idx ON public.location USING btree (connection_id);

CREATE INDEX owner_account_id_idx ON public.owner USING btree (account_id);

CREATE INDEX registration_source_address_idx ON public.registration_source USING btree (public.sip_uri_address(received));

CREATE INDEX registration_source_from_idx ON public.registration_source USING btree (ruid) WHERE ((from_user IS NOT NULL) OR (from_host IS NOT NULL));

CREATE UNIQUE INDEX subscriber_aor_idx ON public.subscriber USING btree (username, domain);

CREATE TRIGGER account_note_disabled BEFORE UPDATE OF enabled ON public.account FOR EACH ROW WHEN ((old.enabled AND (NOT new.enabled))) EXECUTE FUNCTION public.note_disabled();

CREATE TRIGGER account_note_subscribers AFTER UPDATE OF enabled ON public.account FOR EACH ROW WHEN ((old.enabled <> new.enabled)) EXECUTE FUNCTION public.account_note_subscribers();

CREATE CONSTRAINT TRIGGER account_refuse_nonsense AFTER INSERT OR UPDATE OF realm, parent_id ON public.account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.account_refuse_nonsense();

CREATE TRIGGER device_note_credentials BEFORE UPDATE OF ha1 ON public.device FOR EACH ROW WHEN (((old.ha1 <> new.ha1) OR ((old.ha1 IS NOT NULL) AND (new.ha1 IS NULL)))) EXECUTE FUNCTION public.device_note_credentials();

CREATE TRIGGER device_note_disabled BEFORE UPDATE OF enabled ON public.device FOR EACH ROW WHEN ((old.enabled AND (NOT new.enabled))) EXECUTE FUNCTION public.note_disabled();

CREATE TRIGGER device_note_subscriber_changed AFTER UPDATE ON public.device REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.device_note_subscriber();

CREATE TRIGGER device_note_subscriber_new AFTER INSERT ON public.device REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.device_note_subscriber();

CREATE CONSTRAINT TRIGGER device_refuse_realm_of_another AFTER INSERT OR UPDATE OF sip_realm, account_id ON public.device DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.sip_realm IS NOT NULL)) EXECUTE FUNCTION public.device_refuse_realm_of_another();

CREATE TRIGGER device_take_account_realm BEFORE INSERT OR UPDATE OF account_id ON public.device FOR EACH ROW EXECUTE FUNCTION public.device_take_account_realm();

ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES public.account(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.auth_token
    ADD CONSTRAINT auth_token_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.account(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_account_fkey FOREIGN KEY (account_id, account_realm) REFERENCES public.account(id, realm) ON UPDATE CASCADE;

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_owner_fkey FOREIGN KEY (owner_id, account_id) REFERENCES public.owner(id, account_id);

ALTER TABLE ONLY public.flush_binding
    ADD CONSTRAINT flush_binding_flush_id_fkey FOREIGN KEY (flush_id) REFERENCES public.flush(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.flush_node
    ADD CONSTRAINT flush_node_flush_id_fkey FOREIGN KEY (flush_id) REFERENCES public.flush(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.owner
    ADD CONSTRAINT owner_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.account(id);

ALTER TABLE ONLY public.subscriber
    ADD CONSTRAINT subscriber_to_be_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.device(id) ON UPDATE CASCADE ON DELETE CASCADE;
