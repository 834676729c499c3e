-- What the migrations make of an empty database. Written by `make schema`; a test compares it.


-- 0001-location:
-- usrloc's own tables, version 9, and our columns behind Kamailio's.
-- On an empty database they are made with expires and last_modified as epoch seconds (usrloc expires_type=1).
-- On a database of kamdbctl the tables stay as they are, with their rows, their TIMESTAMP columns and their integer ids.
-- The record of migrations is made here, too: if this one fails, nothing is left.

CREATE TABLE registrations_migration (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE registrations_migration IS 'the migrations that were applied to this schema; registrations-db migrate writes it';
COMMENT ON COLUMN registrations_migration.name IS 'file name of the migration, without .sql';
COMMENT ON COLUMN registrations_migration.applied_at IS 'when it was applied';

ALTER TABLE ONLY registrations_migration
    ADD CONSTRAINT registrations_migration_pkey PRIMARY KEY (name);

CREATE TABLE version (
    id integer NOT NULL,
    table_name character varying(32) NOT NULL,
    table_version integer DEFAULT 0 NOT NULL
);

CREATE SEQUENCE version_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE version_id_seq OWNED BY version.id;

ALTER TABLE ONLY version ALTER COLUMN id SET DEFAULT nextval('version_id_seq'::regclass);

ALTER TABLE ONLY version
    ADD CONSTRAINT version_pkey PRIMARY KEY (id);

ALTER TABLE ONLY version
    ADD CONSTRAINT version_table_name_idx UNIQUE (table_name);

CREATE TABLE location (
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

COMMENT ON COLUMN location.account_id IS 'set by the sync worker: the account of the device, or else of the realm';
COMMENT ON COLUMN location.device_id IS 'set by the sync worker: the device with this username and realm';
COMMENT ON COLUMN location.owner_id IS 'set by the sync worker: the owner of that device';
COMMENT ON COLUMN location.enriched_at IS 'when the sync worker first set the three; null: not yet';
COMMENT ON COLUMN location.first_registered_at IS 'when the row was inserted; null: before the table had this column';
COMMENT ON COLUMN location.flushed_epoch IS 'tombstone: last_modified of the REGISTER that a flush saw; the row is hidden until a later one';
COMMENT ON COLUMN location.flushed_cseq IS 'tombstone: cseq of that REGISTER';
COMMENT ON COLUMN location.device_state IS 'set by the sync worker: whether the device was enabled, and a fingerprint of its credentials';
COMMENT ON COLUMN location.flushed_callid IS 'tombstone: callid of that REGISTER';

CREATE SEQUENCE location_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE location_id_seq OWNED BY location.id;

ALTER TABLE ONLY location ALTER COLUMN id SET DEFAULT nextval('location_id_seq'::regclass);

ALTER TABLE ONLY location
    ADD CONSTRAINT location_pkey PRIMARY KEY (id);

ALTER TABLE ONLY location
    ADD CONSTRAINT location_ruid_idx UNIQUE (ruid);

CREATE INDEX location_account_contact_idx ON location USING btree (username, domain, contact);

CREATE INDEX location_account_id_idx ON location USING btree (account_id, id) WHERE (account_id IS NOT NULL);

CREATE INDEX location_connection_idx ON location USING btree (server_id, connection_id);

CREATE INDEX location_contact_address_idx ON location USING btree ((
CASE
    WHEN ((contact)::text !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet
    WHEN (substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))), '^[0-9.]+'::text))::inet
    WHEN ((substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~~ '[%'::text) AND (substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr((contact)::text, (1 + COALESCE(NULLIF(strpos((contact)::text, '@'::text), 0), strpos((contact)::text, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet
    ELSE NULL::inet
END)) WHERE ((COALESCE(received, ''::character varying))::text = ''::text);

CREATE INDEX location_device_id_idx ON location USING btree (device_id) WHERE (device_id IS NOT NULL);

CREATE INDEX location_not_enriched_idx ON location USING btree (id) WHERE (enriched_at IS NULL);

CREATE INDEX location_received_address_idx ON location USING btree ((
CASE
    WHEN ((received)::text !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet
    WHEN (substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))), '^[0-9.]+'::text))::inet
    WHEN ((substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~~ '[%'::text) AND (substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr((received)::text, (1 + COALESCE(NULLIF(strpos((received)::text, '@'::text), 0), strpos((received)::text, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet
    ELSE NULL::inet
END)) WHERE ((received)::text <> ''::text);

CREATE INDEX location_tcpcon_idx ON location USING btree (connection_id);

CREATE INDEX location_without_account_idx ON location USING btree (id) WHERE ((enriched_at IS NOT NULL) AND (account_id IS NULL));

CREATE TABLE location_attrs (
    id bigint NOT NULL,
    ruid character varying(64) DEFAULT ''::character varying NOT NULL,
    username character varying(64) DEFAULT ''::character varying NOT NULL,
    domain character varying(64) DEFAULT NULL::character varying,
    aname character varying(64) DEFAULT ''::character varying NOT NULL,
    atype integer DEFAULT 0 NOT NULL,
    avalue character varying(512) DEFAULT ''::character varying NOT NULL,
    last_modified bigint DEFAULT 0 NOT NULL
);

CREATE SEQUENCE location_attrs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE location_attrs_id_seq OWNED BY location_attrs.id;

ALTER TABLE ONLY location_attrs ALTER COLUMN id SET DEFAULT nextval('location_attrs_id_seq'::regclass);

ALTER TABLE ONLY location_attrs
    ADD CONSTRAINT location_attrs_pkey PRIMARY KEY (id);

CREATE INDEX location_attrs_account_record_idx ON location_attrs USING btree (username, domain, ruid);

CREATE INDEX location_attrs_last_modified_idx ON location_attrs USING btree (last_modified);


-- 0003-kamailio:
-- Reading what Kamailio stores: facts of the site, times, names, and the URIs of phones.

CREATE FUNCTION kamailio_timezone() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'UTC'::text;

COMMENT ON FUNCTION kamailio_timezone() IS 'zone in which Kamailio writes TIMESTAMP columns (it writes its own wall clock)';

CREATE FUNCTION kamailio_default_realm() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULL::text;

COMMENT ON FUNCTION kamailio_default_realm() IS 'realm of the AoRs that usrloc keeps without a domain (use_domain=0); null: not set';

CREATE TABLE kamailio_node (
    server_id integer NOT NULL,
    name text NOT NULL,
    hostname text NOT NULL
);

COMMENT ON TABLE kamailio_node IS 'names of the Kamailio nodes by their server_id; written by registrations-db migrate';
COMMENT ON COLUMN kamailio_node.server_id IS 'Kamailio''s server_id';
COMMENT ON COLUMN kamailio_node.name IS 'name of the node in REGISTRATIONS_KAMAILIO_NODES';
COMMENT ON COLUMN kamailio_node.hostname IS 'what follows the @ in that name, or else all of it';

ALTER TABLE ONLY kamailio_node
    ADD CONSTRAINT kamailio_node_pkey PRIMARY KEY (server_id);

CREATE FUNCTION registration_epoch(at bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN at;

COMMENT ON FUNCTION registration_epoch(at bigint) IS 'epoch seconds of expires or last_modified; 0: never';

CREATE FUNCTION registration_epoch(at timestamp without time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((at >= '1969-12-31 10:00:00'::timestamp without time zone) AND (at <= '1970-01-01 14:00:00'::timestamp without time zone)) THEN (0)::bigint ELSE (floor(EXTRACT(epoch FROM (at AT TIME ZONE kamailio_timezone()))))::bigint END;

COMMENT ON FUNCTION registration_epoch(at timestamp without time zone) IS 'epoch seconds of expires or last_modified in Kamailio''s zone; 0: never';

CREATE FUNCTION registration_epoch(at timestamp with time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((at >= '1969-12-31 10:00:00+00'::timestamp with time zone) AND (at <= '1970-01-01 14:00:00+00'::timestamp with time zone)) THEN (0)::bigint ELSE (floor(EXTRACT(epoch FROM at)))::bigint END;

COMMENT ON FUNCTION registration_epoch(at timestamp with time zone) IS 'epoch seconds of expires or last_modified; 0: never';

CREATE FUNCTION sip_lower(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower((name COLLATE "C"));

COMMENT ON FUNCTION sip_lower(name text) IS 'a SIP name in lower case as usrloc writes it: A to Z alone, whatever the server''s locale';

CREATE FUNCTION aor_username(username text, domain text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (strpos(domain, '@'::text) > 0) THEN ((username || '@'::text) || "left"(domain, ('-1'::integer - length(split_part(domain, '@'::text, '-1'::integer))))) ELSE username END;

COMMENT ON FUNCTION aor_username(username text, domain text) IS 'user of an AoR, split at its last @';

CREATE FUNCTION aor_realm(domain text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULLIF(CASE WHEN (strpos(domain, '@'::text) > 0) THEN split_part(domain, '@'::text, '-1'::integer) ELSE domain END, ''::text);

COMMENT ON FUNCTION aor_realm(domain text) IS 'domain of an AoR, split at its last @; null: none is stored';

CREATE FUNCTION unfolded(header text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((strpos(header, '
'::text) > 0) OR (strpos(header, '
'::text) > 0)) THEN regexp_replace(header, '[ \t]*[\r\n][ \t\r\n]*'::text, ' '::text, 'g'::text) ELSE header END;

COMMENT ON FUNCTION unfolded(header text) IS 'a header of a phone''s on one line';

CREATE FUNCTION sip_instance(stored text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULLIF(btrim(unfolded(stored), '"<> '::text), ''::text);

COMMENT ON FUNCTION sip_instance(stored text) IS 'the URN in +sip.instance (RFC 5626), without quotes and angle brackets; null: the phone sent none';

CREATE FUNCTION sip_uri_hostport(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (((uri COLLATE "C") ~~* 'sip:%'::text) OR ((uri COLLATE "C") ~~* 'sips:%'::text)) THEN "substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '^((?:\[[^]]+\]|[^]\[:;?>@]+)(?::[0-9]+)?)(?:[;?>]|$)'::text) ELSE NULL::text END;

COMMENT ON FUNCTION sip_uri_hostport(uri text) IS 'host and port of a SIP URI, as written; null: another text, such as tel:';

CREATE FUNCTION sip_uri_middle(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (uri ~~ 'sip:%'::text) THEN split_part("right"(uri, (- COALESCE(NULLIF(strpos(uri, '@'::text), 0), 4))), ';'::text, 1) ELSE NULL::text END;

COMMENT ON FUNCTION sip_uri_middle(uri text) IS 'what a SIP URI has between @ and the first semicolon; null: it does not begin with sip:';

CREATE FUNCTION hostport_is_plain(hostport text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hostport ~ '^[0-9A-Za-z.-]+(?::[0-9]+)?$'::text);

COMMENT ON FUNCTION hostport_is_plain(hostport text) IS 'whether a text is host and port, the host being a name or an IPv4 address';

CREATE FUNCTION hostport_host(hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (hostport ~~ '[%'::text) THEN (split_part(hostport, ']'::text, 1) || ']'::text) ELSE split_part(hostport, ':'::text, 1) END;

COMMENT ON FUNCTION hostport_host(hostport text) IS 'host of host:port; an IPv6 address keeps its brackets';

CREATE FUNCTION hostport_port(hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NULLIF(CASE WHEN (hostport ~~ '[%'::text) THEN split_part(hostport, ']:'::text, 2) ELSE split_part(hostport, ':'::text, 2) END, ''::text);

COMMENT ON FUNCTION hostport_port(hostport text) IS 'port of host:port; null: it has none';

CREATE FUNCTION sip_uri_transport(uri text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((uri ~~ 'sip:%'::text) AND (strpos(uri, '?'::text) = 0) AND (split_part(uri, ';transport='::text, '-1'::integer) = ANY (ARRAY['udp'::text, 'tcp'::text, 'tls'::text, 'ws'::text]))) THEN split_part(uri, ';transport='::text, '-1'::integer) WHEN ((uri COLLATE "C") ~~* '%;transport=%'::text) THEN sip_lower("substring"((substr(uri, (strpos(uri, '@'::text) + 1)) COLLATE "C"), '(?i)^[^?]*;transport=([a-z-]+)'::text)) ELSE NULL::text END;

COMMENT ON FUNCTION sip_uri_transport(uri text) IS 'transport parameter of a SIP URI, in lower case; null: it has none';

CREATE FUNCTION sip_uri_port(uri text, hostport text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (hostport IS NOT NULL) THEN COALESCE(hostport_port(hostport), CASE WHEN (((uri COLLATE "C") ~~* 'sips:%'::text) OR (sip_uri_transport(uri) = 'tls'::text)) THEN '5061'::text ELSE '5060'::text END) ELSE NULL::text END;

COMMENT ON FUNCTION sip_uri_port(uri text, hostport text) IS 'port of a SIP URI whose host and port are given, or else the default of RFC 3261, 19.1.2';

CREATE FUNCTION sip_uri_address(uri text) RETURNS inet
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (uri !~ '^[Ss][Ii][Pp][Ss]?:'::text) THEN NULL::inet WHEN (substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~ '^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?::[0-9]+)?(?:[;?>]|$)'::text) THEN ("substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '^[0-9.]+'::text))::inet WHEN ((substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~~ '[%'::text) AND (substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))) ~ '^[[](?:(?:[0-9A-Fa-f]{1,4}:){7}(?:[0-9A-Fa-f]{1,4}|:)|:(?::[0-9A-Fa-f]{1,4}){7}|(?=(?:[^]:%]*:){2,7}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?|(?:[0-9A-Fa-f]{1,4}:){6}(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|(?=(?:[^]:%]*:){2,6}[^]:%]*[]%])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))(?:%[^]]*)?[]](?::[0-9]+)?(?:[;?>]|$)'::text)) THEN ("substring"(substr(uri, (1 + COALESCE(NULLIF(strpos(uri, '@'::text), 0), strpos(uri, ':'::text)))), '[0-9A-Fa-f:.]+'::text))::inet ELSE NULL::inet END;

COMMENT ON FUNCTION sip_uri_address(uri text) IS 'IP address of a SIP URI, without a zone such as %eth0; null: a host name, or no SIP URI';

CREATE FUNCTION registration_protocol(socket_protocol text, received text, contact text, path text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((socket_protocol IS NULL) AND (received IS NULL)) THEN NULL::text WHEN ((COALESCE(socket_protocol, 'tcp'::text) = ANY (ARRAY['tcp'::text, 'tls'::text])) AND (sip_uri_transport(COALESCE(received, CASE WHEN (COALESCE(path, ''::text) = ''::text) THEN contact ELSE NULL::text END)) = 'ws'::text)) THEN CASE WHEN (socket_protocol = 'tls'::text) THEN 'wss'::text ELSE 'ws'::text END ELSE COALESCE(socket_protocol, sip_uri_transport(received), 'udp'::text) END;

COMMENT ON FUNCTION registration_protocol(socket_protocol text, received text, contact text, path text) IS 'protocol that a phone speaks to the proxy: udp, tcp, tls, ws, wss or sctp; null: not known';


-- 0004-directory:
-- The tables of the directory: accounts, owners and devices. An import fills them.

CREATE DOMAIN identifier AS text
	CONSTRAINT identifier_check CHECK ((((length(VALUE) >= 1) AND (length(VALUE) <= 64)) AND (VALUE !~ '[[:cntrl:]/]'::text)));

COMMENT ON DOMAIN identifier IS 'ID of an account, an owner or a device, which paths of the API contain';

CREATE DOMAIN realm AS text
	CONSTRAINT realm_check CHECK (((VALUE ~ '^[\u0021-\u003f\u0041-\u007e]{1,253}$'::text) AND (VALUE = lower(VALUE))));

COMMENT ON DOMAIN realm IS 'domain of an AoR, in lower case';

CREATE TABLE account (
    id identifier NOT NULL,
    parent_id identifier,
    name text NOT NULL,
    realm realm NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    superduper_admin boolean DEFAULT false NOT NULL,
    api_key_hash bytea,
    disabled_at timestamp with time zone,
    automatic boolean DEFAULT false NOT NULL,
    CONSTRAINT account_api_key_hash_check CHECK ((length(api_key_hash) = 32))
);

COMMENT ON TABLE account IS 'customers; each has one realm';
COMMENT ON COLUMN account.id IS 'ID of the account, in paths of the API';
COMMENT ON COLUMN account.parent_id IS 'account above it, whose tokens open it, too; null: none';
COMMENT ON COLUMN account.name IS 'name for people, or empty';
COMMENT ON COLUMN account.realm IS 'domain in which its devices register';
COMMENT ON COLUMN account.enabled IS 'whether its devices may register and its tokens open anything';
COMMENT ON COLUMN account.superduper_admin IS 'whether its tokens open every account';
COMMENT ON COLUMN account.api_key_hash IS 'SHA-256 of the account''s API key; the key itself is not kept';
COMMENT ON COLUMN account.disabled_at IS 'when it was last disabled; null: never since it was imported';
COMMENT ON COLUMN account.automatic IS 'made of a domain by account_follow_domains; an import makes it an account like any other, or replaces it';

ALTER TABLE ONLY account
    ADD CONSTRAINT account_api_key_hash_key UNIQUE (api_key_hash);

ALTER TABLE ONLY account
    ADD CONSTRAINT account_id_realm_key UNIQUE (id, realm);

ALTER TABLE ONLY account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY account
    ADD CONSTRAINT account_realm_key UNIQUE (realm);

CREATE INDEX account_parent_id_idx ON account USING btree (parent_id);

CREATE TABLE owner (
    id identifier NOT NULL,
    account_id identifier NOT NULL,
    name text DEFAULT ''::text NOT NULL
);

COMMENT ON TABLE owner IS 'people to whom devices belong';
COMMENT ON COLUMN owner.id IS 'ID of the owner';
COMMENT ON COLUMN owner.account_id IS 'account of the owner';
COMMENT ON COLUMN owner.name IS 'name for people, or empty';

ALTER TABLE ONLY owner
    ADD CONSTRAINT owner_id_account_id_key UNIQUE (id, account_id);

ALTER TABLE ONLY owner
    ADD CONSTRAINT owner_pkey PRIMARY KEY (id);

CREATE INDEX owner_account_id_idx ON owner USING btree (account_id);

CREATE TABLE device (
    id identifier NOT NULL,
    account_id identifier NOT NULL,
    owner_id identifier,
    name text DEFAULT ''::text NOT NULL,
    sip_username text NOT NULL,
    sip_realm realm,
    account_realm realm NOT NULL,
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

COMMENT ON TABLE device IS 'phones that may register; username and realm are unique, whatever their case';
COMMENT ON COLUMN device.id IS 'ID of the device';
COMMENT ON COLUMN device.account_id IS 'account of the device';
COMMENT ON COLUMN device.owner_id IS 'owner of the device, of the same account; null: nobody';
COMMENT ON COLUMN device.name IS 'name for people, or empty';
COMMENT ON COLUMN device.sip_username IS 'user of its AoR, and for its password';
COMMENT ON COLUMN device.sip_realm IS 'realm of its own; null: the account''s';
COMMENT ON COLUMN device.account_realm IS 'the account''s realm, filled in and kept equal to it';
COMMENT ON COLUMN device.realm IS 'realm of the AoR: sip_realm, or else the account''s';
COMMENT ON COLUMN device.ha1 IS 'MD5(sip_username:realm:password), RFC 2617; null: it cannot log in';
COMMENT ON COLUMN device.enabled IS 'whether it may register';
COMMENT ON COLUMN device.presence_id IS 'Kazoo''s presence_id; null: none';
COMMENT ON COLUMN device.suppress_unregister_notify IS 'Kazoo''s setting of that name';
COMMENT ON COLUMN device.register_overwrite_notify IS 'Kazoo''s setting of that name';
COMMENT ON COLUMN device.credentials_changed_at IS 'when ha1 last changed from one to another; null: never since it was imported';
COMMENT ON COLUMN device.disabled_at IS 'when it was last disabled; null: never since it was imported';

ALTER TABLE ONLY device
    ADD CONSTRAINT device_pkey PRIMARY KEY (id);

CREATE INDEX device_account_id_idx ON device USING btree (account_id);

CREATE UNIQUE INDEX device_aor_idx ON device USING btree (lower((sip_username COLLATE "C")) COLLATE "default", realm);

CREATE INDEX device_owner_id_idx ON device USING btree (owner_id);

CREATE INDEX device_sip_realm_idx ON device USING btree (sip_realm) WHERE (sip_realm IS NOT NULL);

CREATE INDEX device_unusual_idx ON device USING btree (id) WHERE ((presence_id IS NOT NULL) OR (NOT suppress_unregister_notify) OR register_overwrite_notify);

CREATE FUNCTION device_take_account_realm() RETURNS trigger
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

COMMENT ON FUNCTION device_take_account_realm() IS 'trigger of device: fills in account_realm';

CREATE FUNCTION device_refuse_realm_of_another() RETURNS trigger
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

COMMENT ON FUNCTION device_refuse_realm_of_another() IS 'trigger of device: refuses a sip_realm that is the realm of another account';

CREATE FUNCTION account_refuse_nonsense() RETURNS trigger
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

COMMENT ON FUNCTION account_refuse_nonsense() IS 'trigger of account: refuses the sip_realm of another account''s device, and an account above itself';

CREATE FUNCTION device_note_credentials() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    new.credentials_changed_at = now();
    return new;
end $$;

COMMENT ON FUNCTION device_note_credentials() IS 'trigger of device: sets credentials_changed_at';

CREATE FUNCTION note_disabled() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    new.disabled_at = now();
    return new;
end $$;

COMMENT ON FUNCTION note_disabled() IS 'trigger of device and account: sets disabled_at';

CREATE TABLE subscriber (
    device_id identifier NOT NULL,
    username character varying(64) NOT NULL,
    domain character varying(253) NOT NULL,
    password character varying(64) DEFAULT ''::character varying NOT NULL,
    ha1 character varying(128) NOT NULL,
    ha1b character varying(128) DEFAULT "left"(encode(sha256((((gen_random_uuid())::text || (gen_random_uuid())::text))::bytea), 'hex'::text), 32) NOT NULL
);

COMMENT ON TABLE subscriber IS 'what auth_db reads: every device that may log in; follows device and account by itself';
COMMENT ON COLUMN subscriber.device_id IS 'device';
COMMENT ON COLUMN subscriber.username IS 'sip_username of the device';
COMMENT ON COLUMN subscriber.domain IS 'realm of the device';
COMMENT ON COLUMN subscriber.password IS 'always empty';
COMMENT ON COLUMN subscriber.ha1 IS 'ha1 of the device';
COMMENT ON COLUMN subscriber.ha1b IS 'random; auth_db wants a value';

ALTER TABLE ONLY subscriber
    ADD CONSTRAINT subscriber_pkey PRIMARY KEY (device_id);

CREATE UNIQUE INDEX device_subscriber_idx ON subscriber USING btree (username, domain);

CREATE FUNCTION device_note_subscriber() RETURNS trigger
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

COMMENT ON FUNCTION device_note_subscriber() IS 'trigger of device: what auth_db reads follows';

CREATE FUNCTION account_note_subscribers() RETURNS trigger
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

COMMENT ON FUNCTION account_note_subscribers() IS 'trigger of account: what auth_db reads follows';

CREATE SEQUENCE directory_change
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE directory_change IS 'goes up with each statement that changes the directory';

CREATE FUNCTION directory_note_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
begin
    perform nextval('directory_change');
    return null;
exception when others then
    return null;
end $$;

COMMENT ON FUNCTION directory_note_change() IS 'trigger function: counts a change of the directory';

CREATE TRIGGER account_note_disabled BEFORE UPDATE OF enabled ON account FOR EACH ROW WHEN ((old.enabled AND (NOT new.enabled))) EXECUTE FUNCTION note_disabled();

CREATE TRIGGER account_note_subscribers AFTER UPDATE OF enabled ON account FOR EACH ROW WHEN ((old.enabled <> new.enabled)) EXECUTE FUNCTION account_note_subscribers();

CREATE CONSTRAINT TRIGGER account_refuse_nonsense AFTER INSERT OR UPDATE OF realm, parent_id ON account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION account_refuse_nonsense();

CREATE TRIGGER directory_note_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON account FOR EACH STATEMENT EXECUTE FUNCTION directory_note_change();

ALTER TABLE ONLY account
    ADD CONSTRAINT account_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES account(id) DEFERRABLE INITIALLY DEFERRED;

CREATE TRIGGER directory_note_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON owner FOR EACH STATEMENT EXECUTE FUNCTION directory_note_change();

ALTER TABLE ONLY owner
    ADD CONSTRAINT owner_account_id_fkey FOREIGN KEY (account_id) REFERENCES account(id);

CREATE TRIGGER device_note_credentials BEFORE UPDATE OF ha1 ON device FOR EACH ROW WHEN (((old.ha1 <> new.ha1) OR ((old.ha1 IS NOT NULL) AND (new.ha1 IS NULL)))) EXECUTE FUNCTION device_note_credentials();

CREATE TRIGGER device_note_disabled BEFORE UPDATE OF enabled ON device FOR EACH ROW WHEN ((old.enabled AND (NOT new.enabled))) EXECUTE FUNCTION note_disabled();

CREATE TRIGGER device_note_subscriber_changed AFTER UPDATE ON device REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION device_note_subscriber();

CREATE TRIGGER device_note_subscriber_new AFTER INSERT ON device REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION device_note_subscriber();

CREATE CONSTRAINT TRIGGER device_refuse_realm_of_another AFTER INSERT OR UPDATE OF sip_realm, account_id ON device DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.sip_realm IS NOT NULL)) EXECUTE FUNCTION device_refuse_realm_of_another();

CREATE TRIGGER device_take_account_realm BEFORE INSERT OR UPDATE OF account_id ON device FOR EACH ROW EXECUTE FUNCTION device_take_account_realm();

CREATE TRIGGER directory_note_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON device FOR EACH STATEMENT EXECUTE FUNCTION directory_note_change();

ALTER TABLE ONLY device
    ADD CONSTRAINT device_account_fkey FOREIGN KEY (account_id, account_realm) REFERENCES account(id, realm) ON UPDATE CASCADE;

ALTER TABLE ONLY device
    ADD CONSTRAINT device_owner_fkey FOREIGN KEY (owner_id, account_id) REFERENCES owner(id, account_id);

ALTER TABLE ONLY subscriber
    ADD CONSTRAINT subscriber_device_id_fkey FOREIGN KEY (device_id) REFERENCES device(id) ON UPDATE CASCADE ON DELETE CASCADE;


-- 0005-subscribers:
-- The view `directory`: who may register, and to whom a registration belongs. Everything but the import reads it.
-- On a database of kamdbctl it begins with Kamailio's own table `subscriber`, with an account for each domain, until somebody
-- imports a directory. An operator with tables of his own replaces the view.

CREATE VIEW directory AS
 SELECT sip_lower(d.sip_username) AS username,
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
   FROM ((device d
     JOIN account a ON (((a.id)::text = (d.account_id)::text)))
     LEFT JOIN owner o ON (((o.id)::text = (d.owner_id)::text)));

COMMENT ON VIEW directory IS 'who may register: one row for each username and realm. The operator may replace it';
COMMENT ON COLUMN directory.username IS 'what the device registers as, in lower case';
COMMENT ON COLUMN directory.realm IS 'domain that it registers in, in lower case';
COMMENT ON COLUMN directory.device_id IS 'device, unique within its account only: in a database of kamdbctl without an import it is the username';
COMMENT ON COLUMN directory.device_name IS 'name of the device, or empty';
COMMENT ON COLUMN directory.account_id IS 'account of the device';
COMMENT ON COLUMN directory.account_name IS 'name of that account, or empty';
COMMENT ON COLUMN directory.account_realm IS 'realm of that account';
COMMENT ON COLUMN directory.owner_id IS 'owner of the device; null: nobody';
COMMENT ON COLUMN directory.owner_name IS 'name of the owner; null: nobody owns the device';
COMMENT ON COLUMN directory.enabled IS 'whether it may register: neither it nor its account is disabled';
COMMENT ON COLUMN directory.presence_id IS 'Kazoo''s presence_id; null: none';
COMMENT ON COLUMN directory.suppress_unregister_notify IS 'Kazoo''s setting of that name';
COMMENT ON COLUMN directory.register_overwrite_notify IS 'Kazoo''s setting of that name';

CREATE FUNCTION directory_is_of_subscriber() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    RETURN (EXISTS (SELECT FROM (pg_depend d JOIN pg_rewrite r ON ((r.oid = d.objid))) WHERE ((d.classid = ('pg_rewrite'::regclass)::oid) AND (d.refclassid = ('pg_class'::regclass)::oid) AND (d.refobjid = (to_regclass('directory_of_subscriber'::text))::oid) AND (r.ev_class = (to_regclass('directory'::text))::oid))));

COMMENT ON FUNCTION directory_is_of_subscriber() IS 'whether the view directory reads directory_of_subscriber';

CREATE FUNCTION account_follow_domains() RETURNS integer
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
        -- In two halves, each of which an index finds: rows that the worker has seen, and rows that it has not.
        select distinct sip_lower(aor_realm(without.domain))
        from (
            select l.domain from location l where l.enriched_at is null and l.account_id is null and l.domain <> ''
            union all
            select l.domain from location l where l.enriched_at is not null and l.account_id is null and l.domain <> ''
        ) without
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

COMMENT ON FUNCTION account_follow_domains() IS 'makes an account for each domain that has a subscriber or a phone, and for the realm of AoRs without a domain; returns how many were new';


-- 0006-registrations:
-- The read model: one view that the API, reports and pages read, so that list, count and report cannot disagree.

CREATE TABLE registration_source (
    ruid text NOT NULL,
    received text,
    from_user text,
    from_host text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE registration_source IS 'what a REGISTER said that usrloc does not store; the worker fetches it from Kamailio';
COMMENT ON COLUMN registration_source.ruid IS 'usrloc''s key of the binding';
COMMENT ON COLUMN registration_source.received IS 'SIP URI of where it came from; null: not known';
COMMENT ON COLUMN registration_source.from_user IS 'user of the From of a third party''s REGISTER';
COMMENT ON COLUMN registration_source.from_host IS 'host of that From';
COMMENT ON COLUMN registration_source.updated_at IS 'when Kamailio said so last';

ALTER TABLE ONLY registration_source
    ADD CONSTRAINT registration_source_pkey PRIMARY KEY (ruid);

CREATE INDEX registration_source_address_idx ON registration_source USING btree (sip_uri_address(received));

CREATE INDEX registration_source_from_idx ON registration_source USING btree (ruid) WHERE ((from_user IS NOT NULL) OR (from_host IS NOT NULL));

CREATE FUNCTION registration_lives(expires bigint) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((expires = 0) OR ((expires)::double precision > date_part('epoch'::text, now())));

COMMENT ON FUNCTION registration_lives(expires bigint) IS 'whether a binding lives, as VALID_CONTACT of usrloc: it ends later than now, or never (0)';

CREATE FUNCTION registration_shows(expires bigint, modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (((expires = 0) OR ((expires)::double precision > date_part('epoch'::text, now()))) AND ((flushed_epoch IS NULL) OR (modified_epoch > flushed_epoch) OR ((modified_epoch = flushed_epoch) AND ((cseq <> flushed_cseq) OR (callid <> COALESCE(flushed_callid, callid))))));

COMMENT ON FUNCTION registration_shows(expires bigint, modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) IS 'whether a binding is listed: it lives, and no flush hides it';

CREATE VIEW location_directory AS
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
    l.flushed_callid,
    l.reg_id
   FROM (((location l
     CROSS JOIN ( SELECT COALESCE(kamailio_default_realm(), ( SELECT
                        CASE
                            WHEN (min((account.realm)::text) = max((account.realm)::text)) THEN min((account.realm)::text)
                            ELSE NULL::text
                        END AS "case"
                   FROM account)) AS realm) fallback)
     LEFT JOIN directory d ON (((d.username = sip_lower(aor_username((l.username)::text, (l.domain)::text))) AND (d.realm = sip_lower(COALESCE(aor_realm((l.domain)::text), fallback.realm))))))
     LEFT JOIN account a ON (((a.realm)::text = sip_lower(COALESCE(aor_realm((l.domain)::text), fallback.realm)))));

COMMENT ON VIEW location_directory IS 'every row of location, with the account, device and owner that the directory says now';
COMMENT ON COLUMN location_directory.id IS 'as in location';
COMMENT ON COLUMN location_directory.account_id IS 'account of the device, or else of the realm; null: none';
COMMENT ON COLUMN location_directory.device_id IS 'device with this username and realm; null: none';
COMMENT ON COLUMN location_directory.owner_id IS 'owner of that device; null: nobody';
COMMENT ON COLUMN location_directory.ruid IS 'as in location';
COMMENT ON COLUMN location_directory.username IS 'as in location';
COMMENT ON COLUMN location_directory.domain IS 'as in location';
COMMENT ON COLUMN location_directory.contact IS 'as in location';
COMMENT ON COLUMN location_directory.received IS 'as in location';
COMMENT ON COLUMN location_directory.path IS 'as in location';
COMMENT ON COLUMN location_directory.expires IS 'as in location';
COMMENT ON COLUMN location_directory.callid IS 'as in location';
COMMENT ON COLUMN location_directory.cseq IS 'as in location';
COMMENT ON COLUMN location_directory.last_modified IS 'as in location';
COMMENT ON COLUMN location_directory.user_agent IS 'as in location';
COMMENT ON COLUMN location_directory.socket IS 'as in location';
COMMENT ON COLUMN location_directory.instance IS 'as in location';
COMMENT ON COLUMN location_directory.server_id IS 'as in location';
COMMENT ON COLUMN location_directory.enriched_at IS 'as in location';
COMMENT ON COLUMN location_directory.first_registered_at IS 'as in location';
COMMENT ON COLUMN location_directory.flushed_epoch IS 'as in location';
COMMENT ON COLUMN location_directory.flushed_cseq IS 'as in location';
COMMENT ON COLUMN location_directory.flushed_callid IS 'as in location';
COMMENT ON COLUMN location_directory.reg_id IS 'as in location';

CREATE VIEW live_location AS
 SELECT l.id,
    l.account_id,
    l.device_id,
    l.owner_id,
    aor_realm((l.domain)::text) AS realm,
    registration_epoch(l.expires) AS expires_epoch,
    registration_epoch(l.last_modified) AS modified_epoch,
    l.first_registered_at,
    l.ruid,
    aor_username((l.username)::text, (l.domain)::text) AS username,
    l.contact,
    l.received,
    l.path,
    l.callid,
    l.user_agent,
    l.socket,
    l.instance,
    l.server_id,
    l.reg_id
   FROM location l
  WHERE ((l.enriched_at IS NOT NULL) AND registration_shows(registration_epoch(l.expires), registration_epoch(l.last_modified), l.cseq, (l.callid)::text, l.flushed_epoch, l.flushed_cseq, l.flushed_callid))
UNION ALL
 SELECT e.id,
    e.account_id,
    e.device_id,
    e.owner_id,
    aor_realm((e.domain)::text) AS realm,
    registration_epoch(e.expires) AS expires_epoch,
    registration_epoch(e.last_modified) AS modified_epoch,
    e.first_registered_at,
    e.ruid,
    aor_username((e.username)::text, (e.domain)::text) AS username,
    e.contact,
    e.received,
    e.path,
    e.callid,
    e.user_agent,
    e.socket,
    e.instance,
    e.server_id,
    e.reg_id
   FROM location_directory e
  WHERE ((e.enriched_at IS NULL) AND registration_shows(registration_epoch(e.expires), registration_epoch(e.last_modified), e.cseq, (e.callid)::text, e.flushed_epoch, e.flushed_cseq, e.flushed_callid));

COMMENT ON VIEW live_location IS 'every row of location that is listed, with its account, device and owner';
COMMENT ON COLUMN live_location.id IS 'as in location';
COMMENT ON COLUMN live_location.account_id IS 'account of the device, or else of the realm; null: none';
COMMENT ON COLUMN live_location.device_id IS 'device with this username and realm; null: none';
COMMENT ON COLUMN live_location.owner_id IS 'owner of that device; null: nobody';
COMMENT ON COLUMN live_location.realm IS 'domain of the AoR; null: none is stored';
COMMENT ON COLUMN live_location.expires_epoch IS 'when it ends, epoch seconds; 0: never';
COMMENT ON COLUMN live_location.modified_epoch IS 'its last REGISTER, epoch seconds; 0: not known';
COMMENT ON COLUMN live_location.first_registered_at IS 'as in location';
COMMENT ON COLUMN live_location.ruid IS 'as in location';
COMMENT ON COLUMN live_location.username IS 'user of the AoR';
COMMENT ON COLUMN live_location.contact IS 'as in location';
COMMENT ON COLUMN live_location.received IS 'as in location';
COMMENT ON COLUMN live_location.path IS 'as in location';
COMMENT ON COLUMN live_location.callid IS 'as in location';
COMMENT ON COLUMN live_location.user_agent IS 'as in location';
COMMENT ON COLUMN live_location.socket IS 'as in location';
COMMENT ON COLUMN live_location.instance IS 'as in location';
COMMENT ON COLUMN live_location.server_id IS 'as in location';
COMMENT ON COLUMN live_location.reg_id IS 'as in location';

CREATE VIEW registrations AS
 SELECT l.id,
    l.account_id,
    COALESCE(a.name, ''::text) AS account_name,
    COALESCE((a.realm)::text, ''::text) AS account_realm,
    COALESCE(l.device_id, ''::text) AS authorizing_id,
    'device'::text AS authorizing_type,
    unfolded((l.callid)::text) AS call_id,
    u.contact,
    COALESCE(hostport_host(u.contact_at), ''::text) AS contact_ip,
    COALESCE(sip_uri_port(u.contact, u.contact_at), ''::text) AS contact_port,
    (t.event + '62167219200'::bigint) AS event_timestamp,
    t.lifetime AS expires,
    false AS first_registration,
    COALESCE(unfolded(f.from_host), t.realm) AS from_host,
    COALESCE(unfolded(f.from_user), l.username) AS from_user,
    (LEAST(t.event, (floor(date_part('epoch'::text, l.first_registered_at)))::bigint) + '62167219200'::bigint) AS initial_registration,
    (t.event + '62167219200'::bigint) AS last_registration,
    COALESCE(hostport_host(u.source_at), 'undefined'::text) AS network_ip,
    COALESCE(sip_uri_port(u.source, u.source_at), 'undefined'::text) AS network_port,
        CASE
            WHEN (strpos(u.contact, ';alias='::text) > 0) THEN regexp_replace(u.contact, ';alias=[^;?~]+~[0-9]+~[1-9](?=[;?]|$)'::text, ''::text)
            ELSE u.contact
        END AS original_contact,
    COALESCE(l.owner_id, ''::text) AS owner_id,
    NULLIF(d.presence_id, ''::text) AS presence_id,
    COALESCE(
        CASE
            WHEN (u.socket_at ~~ ANY (ARRAY['0.0.0.0:%'::text, '[::]:%'::text])) THEN n.hostname
            ELSE hostport_host(u.socket_at)
        END, ''::text) AS proxy_ip,
    COALESCE(hostport_port(u.socket_at), ''::text) AS proxy_port,
    registration_protocol(u.socket_protocol, u.received, u.contact, (l.path)::text) AS proxy_protocol,
    NULLIF(unfolded((l.path)::text), ''::text) AS proxy_path,
    t.realm,
    COALESCE(d.register_overwrite_notify, false) AS register_overwrite_notify,
    NULLIF(n.hostname, ''::text) AS registrar_hostname,
    NULLIF(n.name, ''::text) AS registrar_node,
    hostport_host(u.source_at) AS source_ip,
    sip_uri_port(u.source, u.source_at) AS source_port,
    COALESCE(d.suppress_unregister_notify, true) AS suppress_unregister_notify,
    t.realm AS to_host,
    l.username AS to_user,
    unfolded((l.user_agent)::text) AS user_agent,
    l.username,
    l.ruid,
    l.server_id,
    to_timestamp((t.event)::double precision) AS registered_at,
    to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) AS expires_at,
    sip_instance((l.instance)::text) AS instance,
    NULLIF(l.reg_id, 0) AS reg_id
   FROM ((((((live_location l
     LEFT JOIN account a ON (((a.id)::text = l.account_id)))
     LEFT JOIN LATERAL ( SELECT d_1.presence_id,
            d_1.suppress_unregister_notify,
            d_1.register_overwrite_notify
           FROM directory d_1
          WHERE ((d_1.device_id = l.device_id) AND (d_1.username = sip_lower(l.username)) AND (d_1.realm = sip_lower(COALESCE(l.realm, kamailio_default_realm(), (a.realm)::text))) AND ((d_1.presence_id IS NOT NULL) OR (NOT d_1.suppress_unregister_notify) OR d_1.register_overwrite_notify))
         OFFSET 0) d ON (true))
     LEFT JOIN LATERAL ( SELECT s.received,
            s.from_user,
            s.from_host
           FROM registration_source s
          WHERE ((s.ruid = (l.ruid)::text) AND ((((COALESCE(l.received, ''::character varying))::text = ''::text) AND ( SELECT (EXISTS ( SELECT
                           FROM registration_source)) AS "exists")) OR ( SELECT (EXISTS ( SELECT
                           FROM registration_source
                          WHERE ((registration_source.from_user IS NOT NULL) OR (registration_source.from_host IS NOT NULL)))) AS "exists")))
         OFFSET 0) f ON (true))
     LEFT JOIN ( SELECT kamailio_node.server_id,
            kamailio_node.name,
            kamailio_node.hostname
           FROM kamailio_node
         OFFSET 0) n ON ((n.server_id = l.server_id)))
     CROSS JOIN LATERAL ( SELECT s.contact,
            s.received,
            COALESCE(s.received, s.contact) AS source,
                CASE
                    WHEN hostport_is_plain(s.contact_middle) THEN s.contact_middle
                    ELSE sip_uri_hostport(s.contact)
                END AS contact_at,
                CASE
                    WHEN hostport_is_plain(s.source_middle) THEN s.source_middle
                    ELSE sip_uri_hostport(COALESCE(s.received, s.contact))
                END AS source_at,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:%'::text, 'tcp:%'::text, 'tls:%'::text])) THEN "left"((l.socket)::text, 3)
                    ELSE sip_lower("substring"((l.socket)::text, '^([a-zA-Z]+):'::text))
                END AS socket_protocol,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:_%'::text, 'tcp:_%'::text, 'tls:_%'::text])) THEN "right"((l.socket)::text, '-4'::integer)
                    ELSE "substring"((l.socket)::text, '^[a-zA-Z]+:(.+)$'::text)
                END AS socket_at
           FROM ( SELECT c.contact,
                    c.received,
                    sip_uri_middle(c.contact) AS contact_middle,
                    sip_uri_middle(COALESCE(c.received, c.contact)) AS source_middle
                   FROM ( SELECT unfolded((l.contact)::text) AS contact,
                            COALESCE(NULLIF((l.received)::text, ''::text), f.received) AS received
                         OFFSET 0) c
                 OFFSET 0) s
         OFFSET 0) u)
     CROSS JOIN LATERAL ( SELECT e.event,
                CASE l.expires_epoch
                    WHEN 0 THEN (0)::bigint
                    ELSE GREATEST((l.expires_epoch - e.event), (0)::bigint)
                END AS lifetime,
            COALESCE(l.realm, kamailio_default_realm(), (a.realm)::text, ''::text) AS realm
           FROM ( SELECT COALESCE(NULLIF(l.modified_epoch, 0), (floor(date_part('epoch'::text, l.first_registered_at)))::bigint, (0)::bigint) AS event) e) t);

COMMENT ON VIEW registrations IS 'one row for each registration that lives now, with the names and values of Crossbar: times in Gregorian seconds (Unix + 62167219200), texts that are not known empty; reports are easier on report_registration';
COMMENT ON COLUMN registrations.id IS 'number of the row of location; lists are in this order';
COMMENT ON COLUMN registrations.account_id IS 'account whose list it is in; null: no account has its realm';
COMMENT ON COLUMN registrations.account_name IS 'name of that account, or empty';
COMMENT ON COLUMN registrations.account_realm IS 'realm of that account, or empty';
COMMENT ON COLUMN registrations.authorizing_id IS 'device, unique within its account only; empty: the directory has none';
COMMENT ON COLUMN registrations.authorizing_type IS 'always device';
COMMENT ON COLUMN registrations.call_id IS 'Call-ID of the last REGISTER';
COMMENT ON COLUMN registrations.contact IS 'Contact, a SIP URI as Kamailio stored it';
COMMENT ON COLUMN registrations.contact_ip IS 'host of the Contact, IPv6 in brackets, or empty';
COMMENT ON COLUMN registrations.contact_port IS 'port of the Contact, or empty';
COMMENT ON COLUMN registrations.event_timestamp IS 'last REGISTER, Gregorian seconds';
COMMENT ON COLUMN registrations.expires IS 'lifetime that Kamailio granted at the last REGISTER, in seconds, not what remains of it; 0: for ever';
COMMENT ON COLUMN registrations.first_registration IS 'always false';
COMMENT ON COLUMN registrations.from_host IS 'host of the From, the realm unless a third party registered it';
COMMENT ON COLUMN registrations.from_user IS 'user of the From, the username unless a third party registered it';
COMMENT ON COLUMN registrations.initial_registration IS 'when it began, Gregorian seconds';
COMMENT ON COLUMN registrations.last_registration IS 'last REGISTER, Gregorian seconds';
COMMENT ON COLUMN registrations.network_ip IS 'host that the REGISTER came from, IPv6 in brackets, or undefined';
COMMENT ON COLUMN registrations.network_port IS 'port of that, or undefined';
COMMENT ON COLUMN registrations.original_contact IS 'Contact without the alias that an edge proxy added';
COMMENT ON COLUMN registrations.owner_id IS 'owner of the device, or empty';
COMMENT ON COLUMN registrations.presence_id IS 'presence_id of the device; null: none';
COMMENT ON COLUMN registrations.proxy_ip IS 'address of Kamailio that the REGISTER came to, the node''s host where it listens on all, or empty';
COMMENT ON COLUMN registrations.proxy_port IS 'port of that, or empty';
COMMENT ON COLUMN registrations.proxy_protocol IS 'udp, tcp, tls, ws, wss or sctp; null: not known';
COMMENT ON COLUMN registrations.proxy_path IS 'Path header, the way back through edge proxies; null: none';
COMMENT ON COLUMN registrations.realm IS 'domain of the AoR, or empty';
COMMENT ON COLUMN registrations.register_overwrite_notify IS 'as the device has it';
COMMENT ON COLUMN registrations.registrar_hostname IS 'host of the Kamailio node; null: not known';
COMMENT ON COLUMN registrations.registrar_node IS 'name of the Kamailio node; null: not known';
COMMENT ON COLUMN registrations.source_ip IS 'as network_ip; null: not known';
COMMENT ON COLUMN registrations.source_port IS 'as network_port; null: not known';
COMMENT ON COLUMN registrations.suppress_unregister_notify IS 'as the device has it';
COMMENT ON COLUMN registrations.to_host IS 'host of the To: the realm';
COMMENT ON COLUMN registrations.to_user IS 'user of the To: the username';
COMMENT ON COLUMN registrations.user_agent IS 'User-Agent header; n/a: the phone sent none';
COMMENT ON COLUMN registrations.username IS 'user of the AoR, as Kamailio stored it';
COMMENT ON COLUMN registrations.ruid IS 'usrloc''s key of the binding';
COMMENT ON COLUMN registrations.server_id IS 'number of the Kamailio node';
COMMENT ON COLUMN registrations.registered_at IS 'last REGISTER, as a time';
COMMENT ON COLUMN registrations.expires_at IS 'when it ends without a refresh; null: never';
COMMENT ON COLUMN registrations.instance IS '+sip.instance of the Contact, without angle brackets: the same for all registrations of one phone; null: the phone sent none';
COMMENT ON COLUMN registrations.reg_id IS 'reg-id of the Contact, which of its registrations this is; null: the phone sent none';

CREATE FUNCTION registrations_count(wanted_account text) RETURNS bigint
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

COMMENT ON FUNCTION registrations_count(wanted_account text) IS 'how many registrations of an account are listed';


-- 0007-flushes:
-- Flushes as promises that outlive a request: what was asked for, and how far each node of Kamailio has come with it.
-- What hides a binding meanwhile is in its row of location. The views could look into flush_binding instead, but a plan that
-- was made while that is empty, as it nearly always is, would take hours when it is not.

CREATE TABLE flush (
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

COMMENT ON TABLE flush IS 'each flush that was asked for: by a client, on the shell, or because the directory changed';
COMMENT ON COLUMN flush.id IS 'ID of the flush, in the API';
COMMENT ON COLUMN flush."position" IS 'the order in which they were asked for';
COMMENT ON COLUMN flush.account_id IS 'account that was flushed';
COMMENT ON COLUMN flush.username IS 'in lower case; null: the whole account, or several of its usernames at once';
COMMENT ON COLUMN flush.cause IS 'request (API), command (shell), or what changed in the directory: disabled, deleted, moved, credentials';
COMMENT ON COLUMN flush.requested_by IS 'account ID of the client''s token, name of the shell''s user, or worker';
COMMENT ON COLUMN flush.request_id IS 'ID of the API''s request, as in its log; null: another cause';
COMMENT ON COLUMN flush.requested_at IS 'when it was asked for';
COMMENT ON COLUMN flush.bindings IS 'how many were listed when it was asked for';
COMMENT ON COLUMN flush.superseded IS 'how many of them registered again before a retry came to them';
COMMENT ON COLUMN flush.finished_at IS 'when the last node confirmed the last binding; null: not yet';

ALTER TABLE flush ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME flush_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY flush
    ADD CONSTRAINT flush_pkey PRIMARY KEY (id);

CREATE INDEX flush_account_id_idx ON flush USING btree (account_id, "position");

CREATE INDEX flush_finished_at_idx ON flush USING btree (finished_at);

CREATE INDEX flush_unfinished_idx ON flush USING btree (account_id) WHERE (finished_at IS NULL);

CREATE TABLE flush_binding (
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

COMMENT ON TABLE flush_binding IS 'bindings that flushes are to remove, as they were; each goes when no node has it and its row is gone';
COMMENT ON COLUMN flush_binding.id IS 'number, which says nothing';
COMMENT ON COLUMN flush_binding.flush_id IS 'the flush';
COMMENT ON COLUMN flush_binding.ruid IS 'usrloc''s key of the binding; null: an AoR that may be registered without a row (db_mode 2 writes late)';
COMMENT ON COLUMN flush_binding.username IS 'user of its AoR';
COMMENT ON COLUMN flush_binding.domain IS 'domain of its AoR; null: none is stored';
COMMENT ON COLUMN flush_binding.server_id IS 'number of its Kamailio node; null: not known';
COMMENT ON COLUMN flush_binding.modified_epoch IS 'its last REGISTER, as of location.last_modified';
COMMENT ON COLUMN flush_binding.cseq IS 'cseq of that REGISTER';
COMMENT ON COLUMN flush_binding.expires_epoch IS 'epoch seconds from which no node can have it; null: never';
COMMENT ON COLUMN flush_binding.shown IS 'whether it was listed, so was not being flushed already';
COMMENT ON COLUMN flush_binding.confirmed IS 'server_ids of the nodes whose memory is clean of it; 0 for the one of a setting without server_ids';
COMMENT ON COLUMN flush_binding.settled_at IS 'when the last node that may hold it confirmed; the row may stay for a while, hidden';
COMMENT ON COLUMN flush_binding.attempts IS 'how often the worker tried to remove it';
COMMENT ON COLUMN flush_binding.due_at IS 'when the worker tries next';
COMMENT ON COLUMN flush_binding.seen_epoch IS 'last_modified of its row when the flush was asked for, which modified_epoch may be later than';
COMMENT ON COLUMN flush_binding.seen_cseq IS 'cseq of its row at that time';
COMMENT ON COLUMN flush_binding.asked_at IS 'when due_at was set; in the future: the clock was set back since, and due_at says nothing';
COMMENT ON COLUMN flush_binding.seen_callid IS 'callid of its row at that time; null: not known';

ALTER TABLE flush_binding ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME flush_binding_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY flush_binding
    ADD CONSTRAINT flush_binding_pkey PRIMARY KEY (id);

CREATE INDEX flush_binding_due_at_idx ON flush_binding USING btree (due_at);

CREATE INDEX flush_binding_flush_id_idx ON flush_binding USING btree (flush_id);

CREATE TABLE flush_node (
    flush_id text NOT NULL,
    node integer NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    attempted_at timestamp with time zone,
    confirmed_at timestamp with time zone,
    last_error text
);

COMMENT ON TABLE flush_node IS 'what became of a flush at each node that was asked';
COMMENT ON COLUMN flush_node.flush_id IS 'the flush';
COMMENT ON COLUMN flush_node.node IS 'server_id of the Kamailio node';
COMMENT ON COLUMN flush_node.attempts IS 'how often it was asked';
COMMENT ON COLUMN flush_node.attempted_at IS 'when it was asked last; null: not yet';
COMMENT ON COLUMN flush_node.confirmed_at IS 'when it had confirmed every binding; null: not yet';
COMMENT ON COLUMN flush_node.last_error IS 'a word, a colon, and words that may name URLs: clients are told the first; null: it answered well';

ALTER TABLE ONLY flush_node
    ADD CONSTRAINT flush_node_pkey PRIMARY KEY (flush_id, node);

CREATE FUNCTION flush_holders(server_id integer, nodes integer[], replicated boolean) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((NOT replicated) AND (server_id = ANY (nodes))) THEN ARRAY[server_id] ELSE nodes END;

COMMENT ON FUNCTION flush_holders(server_id integer, nodes integer[], replicated boolean) IS 'which nodes may hold a binding: its own, or all where that is not known or bindings are replicated';

CREATE FUNCTION registration_is(modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((modified_epoch < flushed_epoch) OR ((modified_epoch = flushed_epoch) AND (cseq = flushed_cseq) AND (callid = COALESCE(flushed_callid, callid))));

COMMENT ON FUNCTION registration_is(modified_epoch bigint, cseq integer, callid text, flushed_epoch bigint, flushed_cseq integer, flushed_callid text) IS 'whether a REGISTER is the one that a flush saw, or one before it';

ALTER TABLE ONLY flush_binding
    ADD CONSTRAINT flush_binding_flush_id_fkey FOREIGN KEY (flush_id) REFERENCES flush(id) ON DELETE CASCADE;

ALTER TABLE ONLY flush_node
    ADD CONSTRAINT flush_node_flush_id_fkey FOREIGN KEY (flush_id) REFERENCES flush(id) ON DELETE CASCADE;


-- 0008-reports:
-- Reports for people: the views report_registration, report_device, report_account and report_flush, beside `registrations`,
-- which keeps Crossbar's names. Times are timestamptz, addresses inet, what is not known is null. Every column that the role
-- registrations_report may read has a comment.

CREATE TABLE user_agent_rule (
    prefix text NOT NULL COLLATE pg_catalog."C",
    vendor text NOT NULL,
    pattern text
);

COMMENT ON TABLE user_agent_rule IS 'vendors by what the User-Agent begins with; each release may replace it';
COMMENT ON COLUMN user_agent_rule.prefix IS 'beginning of the User-Agent, in lower case';
COMMENT ON COLUMN user_agent_rule.vendor IS 'maker of the phone';
COMMENT ON COLUMN user_agent_rule.pattern IS 'regular expression with two groups: model and firmware; null: neither can be told';

ALTER TABLE ONLY user_agent_rule
    ADD CONSTRAINT user_agent_rule_pkey PRIMARY KEY (prefix);

CREATE VIEW live_location_address AS
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
    sip_uri_address((l.received)::text) AS source_address,
    l.instance,
    l.reg_id
   FROM live_location l
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
    sip_uri_address(s.received) AS source_address,
    l.instance,
    l.reg_id
   FROM (live_location l
     JOIN registration_source s ON ((s.ruid = (l.ruid)::text)))
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
    sip_uri_address((l.contact)::text) AS source_address,
    l.instance,
    l.reg_id
   FROM live_location l
  WHERE (((COALESCE(l.received, ''::character varying))::text = ''::text) AND (NOT (EXISTS ( SELECT
           FROM registration_source s
          WHERE ((s.ruid = (l.ruid)::text) AND (s.received IS NOT NULL))))));

COMMENT ON VIEW live_location_address IS 'live_location, and where each row came from as SIP URI and as address';
COMMENT ON COLUMN live_location_address.account_id IS 'as in live_location';
COMMENT ON COLUMN live_location_address.device_id IS 'as in live_location';
COMMENT ON COLUMN live_location_address.owner_id IS 'as in live_location';
COMMENT ON COLUMN live_location_address.realm IS 'as in live_location';
COMMENT ON COLUMN live_location_address.expires_epoch IS 'as in live_location';
COMMENT ON COLUMN live_location_address.modified_epoch IS 'as in live_location';
COMMENT ON COLUMN live_location_address.first_registered_at IS 'as in live_location';
COMMENT ON COLUMN live_location_address.ruid IS 'as in live_location';
COMMENT ON COLUMN live_location_address.username IS 'as in live_location';
COMMENT ON COLUMN live_location_address.contact IS 'as in live_location';
COMMENT ON COLUMN live_location_address.path IS 'as in live_location';
COMMENT ON COLUMN live_location_address.user_agent IS 'as in live_location';
COMMENT ON COLUMN live_location_address.socket IS 'as in live_location';
COMMENT ON COLUMN live_location_address.server_id IS 'as in live_location';
COMMENT ON COLUMN live_location_address.source IS 'SIP URI that it came from';
COMMENT ON COLUMN live_location_address.source_received IS 'the same; null: the Contact stands in for it';
COMMENT ON COLUMN live_location_address.source_address IS 'its address; null: a host name, or not known';
COMMENT ON COLUMN live_location_address.instance IS 'as in live_location';
COMMENT ON COLUMN live_location_address.reg_id IS 'as in live_location';

CREATE VIEW report_registration AS
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
    sip_uri_address((l.contact)::text) AS contact_address,
    registration_protocol(p.socket_protocol, l.source_received, t.contact, (l.path)::text) AS protocol,
    NULLIF(l.server_id, 0) AS server_id,
    NULLIF(k.name, ''::text) AS node,
    LEAST(date_trunc('second'::text, l.first_registered_at), t.last_registered_at) AS first_registered_at,
    t.last_registered_at,
    to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) AS expires_at,
    date_trunc('second'::text, (to_timestamp((NULLIF(l.expires_epoch, 0))::double precision) - now())) AS expires_in,
    (l.ruid)::text AS ruid,
    sip_instance((l.instance)::text) AS instance,
    NULLIF(l.reg_id, 0) AS reg_id
   FROM (((((((live_location_address l
     LEFT JOIN account a ON (((a.id)::text = l.account_id)))
     LEFT JOIN owner o ON ((((o.id)::text = l.owner_id) AND ((o.account_id)::text = l.account_id))))
     LEFT JOIN ( SELECT kamailio_node.server_id,
            kamailio_node.name,
            kamailio_node.hostname
           FROM kamailio_node
         OFFSET 0) k ON ((k.server_id = l.server_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(l.realm, kamailio_default_realm(), (a.realm)::text) AS realm,
            NULLIF(NULLIF(unfolded((l.user_agent)::text), ''::text), 'n/a'::text) AS user_agent,
            unfolded((l.contact)::text) AS contact,
            COALESCE(to_timestamp((NULLIF(l.modified_epoch, 0))::double precision), date_trunc('second'::text, l.first_registered_at)) AS last_registered_at) t)
     LEFT JOIN directory d ON (((d.account_id = l.account_id) AND (d.device_id = l.device_id) AND (d.username = sip_lower(l.username)) AND (d.realm = sip_lower(t.realm)))))
     CROSS JOIN LATERAL ( SELECT ( SELECT
                        CASE
                            WHEN starts_with(x.lower_agent, r.prefix) THEN (ARRAY[r.vendor] || regexp_match((x.user_agent COLLATE "C"), ('(?i)'::text || r.pattern)))
                            ELSE NULL::text[]
                        END AS "case"
                   FROM user_agent_rule r
                  WHERE (r.prefix <= x.lower_agent)
                  ORDER BY r.prefix DESC
                 LIMIT 1) AS parts
           FROM ( SELECT t.user_agent,
                    (lower((t.user_agent COLLATE "C")) COLLATE "C") AS lower_agent
                 OFFSET 0) x
         OFFSET 0) u)
     CROSS JOIN LATERAL ( SELECT sip_uri_port(s.source, s.source_at) AS network_port,
                CASE
                    WHEN ((l.socket)::text ~~ ANY (ARRAY['udp:%'::text, 'tcp:%'::text, 'tls:%'::text])) THEN "left"((l.socket)::text, 3)
                    ELSE lower(("substring"((l.socket)::text, '^([a-zA-Z]+):'::text) COLLATE "C"))
                END AS socket_protocol
           FROM ( SELECT m.source,
                        CASE
                            WHEN hostport_is_plain(m.middle) THEN m.middle
                            ELSE sip_uri_hostport(m.source)
                        END AS source_at
                   FROM ( SELECT unfolded(l.source) AS source,
                            sip_uri_middle(l.source) AS middle
                         OFFSET 0) m
                 OFFSET 0) s
         OFFSET 0) p);

COMMENT ON VIEW report_registration IS 'one row for each registration (binding) that lives now; filters on account_id, device_id, network_address and ruid use an index';
COMMENT ON COLUMN report_registration.account_id IS 'account whose list it is in; null: no account has its realm';
COMMENT ON COLUMN report_registration.account_name IS 'name of that account; null: it has none';
COMMENT ON COLUMN report_registration.device_id IS 'device, unique within its account only; null: the directory has none for this username and realm';
COMMENT ON COLUMN report_registration.device_name IS 'name of the device; null: it has none, or no device';
COMMENT ON COLUMN report_registration.owner_id IS 'owner of the device; null: nobody';
COMMENT ON COLUMN report_registration.owner_name IS 'name of the owner; null: it has none, or nobody owns the device';
COMMENT ON COLUMN report_registration.username IS 'user of the AoR, as Kamailio stored it';
COMMENT ON COLUMN report_registration.realm IS 'domain of the AoR, or of the site where usrloc stores none; null: not known';
COMMENT ON COLUMN report_registration.vendor IS 'maker of the phone, from user_agent; null: not known';
COMMENT ON COLUMN report_registration.model IS 'model of the phone, from user_agent; null: a program, or not known';
COMMENT ON COLUMN report_registration.firmware IS 'version of firmware or program, from user_agent; null: not known';
COMMENT ON COLUMN report_registration.user_agent IS 'User-Agent header; null: the phone sent none';
COMMENT ON COLUMN report_registration.network_address IS 'address that the REGISTER came from, else that of the Contact; null: a host name, or not known';
COMMENT ON COLUMN report_registration.network_port IS 'port of that; null: not known';
COMMENT ON COLUMN report_registration.contact IS 'Contact, a SIP URI as Kamailio stored it';
COMMENT ON COLUMN report_registration.contact_address IS 'address in the Contact, often a private one; null: a host name, or not known';
COMMENT ON COLUMN report_registration.protocol IS 'udp, tcp, tls, ws, wss or sctp; null: not known';
COMMENT ON COLUMN report_registration.server_id IS 'number of the Kamailio node; null: nodes have no numbers';
COMMENT ON COLUMN report_registration.node IS 'name of the node in REGISTRATIONS_KAMAILIO_NODES; null: it has none there';
COMMENT ON COLUMN report_registration.first_registered_at IS 'when this registration began';
COMMENT ON COLUMN report_registration.last_registered_at IS 'when it was refreshed last';
COMMENT ON COLUMN report_registration.expires_at IS 'when it ends without a refresh; null: never';
COMMENT ON COLUMN report_registration.expires_in IS 'how long that is from now, an interval; null: for ever';
COMMENT ON COLUMN report_registration.ruid IS 'usrloc''s key of the binding, as in registrations';
COMMENT ON COLUMN report_registration.instance IS '+sip.instance of the Contact, without angle brackets: the same for all registrations of one phone; null: the phone sent none';
COMMENT ON COLUMN report_registration.reg_id IS 'reg-id of the Contact, which of its registrations this is; null: the phone sent none';

CREATE VIEW report_device AS
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
   FROM (((directory d
     LEFT JOIN account a ON (((a.id)::text = d.account_id)))
     LEFT JOIN device v ON ((((v.id)::text = d.device_id) AND ((v.account_id)::text = d.account_id))))
     LEFT JOIN ( SELECT l.account_id,
            l.device_id,
            count(*) AS registrations,
            min(LEAST(date_trunc('second'::text, l.first_registered_at), to_timestamp((NULLIF(l.modified_epoch, 0))::double precision))) AS first_registered_at,
            max(COALESCE(to_timestamp((NULLIF(l.modified_epoch, 0))::double precision), date_trunc('second'::text, l.first_registered_at))) AS last_registered_at,
                CASE
                    WHEN (min(l.expires_epoch) > 0) THEN to_timestamp((max(l.expires_epoch))::double precision)
                    ELSE NULL::timestamp with time zone
                END AS expires_at
           FROM live_location l
          WHERE (l.device_id IS NOT NULL)
          GROUP BY l.account_id, l.device_id) r ON (((r.account_id = d.account_id) AND (r.device_id = d.device_id))));

COMMENT ON VIEW report_device IS 'one row for each username and realm of the directory, registered or not; a device with several has several rows. Filters on account_id and device_id use an index';
COMMENT ON COLUMN report_device.account_id IS 'account of the device';
COMMENT ON COLUMN report_device.account_name IS 'name of that account; null: it has none';
COMMENT ON COLUMN report_device.device_id IS 'device, unique within its account only';
COMMENT ON COLUMN report_device.device_name IS 'name of the device; null: it has none';
COMMENT ON COLUMN report_device.owner_id IS 'owner of the device; null: nobody';
COMMENT ON COLUMN report_device.owner_name IS 'name of the owner; null: it has none, or nobody owns the device';
COMMENT ON COLUMN report_device.username IS 'what it registers as, in lower case';
COMMENT ON COLUMN report_device.realm IS 'domain that it registers in';
COMMENT ON COLUMN report_device.enabled IS 'whether it may register: neither it nor its account is disabled';
COMMENT ON COLUMN report_device.disabled_at IS 'when it or its account was disabled, whichever came first; null: enabled, or not known, as if it came disabled with an import';
COMMENT ON COLUMN report_device.registered IS 'whether it has a registration now';
COMMENT ON COLUMN report_device.registrations IS 'how many it has';
COMMENT ON COLUMN report_device.first_registered_at IS 'when the oldest of them began; null: not registered';
COMMENT ON COLUMN report_device.last_registered_at IS 'when one of them was refreshed last; null: not registered';
COMMENT ON COLUMN report_device.expires_at IS 'when the last of them ends without a refresh; null: not registered, or never';

CREATE VIEW report_account AS
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
   FROM (((account a
     LEFT JOIN account p ON (((p.id)::text = (a.parent_id)::text)))
     LEFT JOIN ( SELECT e.account_id,
            count(DISTINCT e.device_id) AS devices,
            count(DISTINCT e.device_id) FILTER (WHERE (NOT e.enabled)) AS devices_disabled,
            count(DISTINCT e.device_id) FILTER (WHERE e.registered) AS devices_registered,
            count(DISTINCT e.device_id) FILTER (WHERE (e.enabled AND (NOT e.registered))) AS devices_silent
           FROM report_device e
          GROUP BY e.account_id) d ON ((d.account_id = (a.id)::text)))
     LEFT JOIN ( SELECT l.account_id,
            count(*) AS registrations,
            count(*) FILTER (WHERE (l.device_id IS NULL)) AS without_device
           FROM live_location l
          GROUP BY l.account_id) r ON ((r.account_id = (a.id)::text)));

COMMENT ON VIEW report_account IS 'one row for each account, with or without devices';
COMMENT ON COLUMN report_account.account_id IS 'account';
COMMENT ON COLUMN report_account.account_name IS 'its name; null: it has none';
COMMENT ON COLUMN report_account.realm IS 'its domain';
COMMENT ON COLUMN report_account.parent_id IS 'account above it; null: none';
COMMENT ON COLUMN report_account.parent_name IS 'its name; null: none';
COMMENT ON COLUMN report_account.enabled IS 'whether its devices may register';
COMMENT ON COLUMN report_account.disabled_at IS 'when it was disabled; null: enabled, or not known';
COMMENT ON COLUMN report_account.devices IS 'devices of the directory';
COMMENT ON COLUMN report_account.devices_disabled IS 'devices that may not register, by themselves or with the account';
COMMENT ON COLUMN report_account.devices_registered IS 'devices that have a registration, disabled ones too';
COMMENT ON COLUMN report_account.devices_silent IS 'enabled devices that have none';
COMMENT ON COLUMN report_account.registered_percent IS 'share of the enabled devices that are registered; null: there are none';
COMMENT ON COLUMN report_account.registrations IS 'registrations in the list of the account';
COMMENT ON COLUMN report_account.registrations_without_device IS 'those of them whose username no device has';

CREATE VIEW report_flush AS
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
   FROM (((flush f
     LEFT JOIN account a ON (((a.id)::text = f.account_id)))
     CROSS JOIN LATERAL ( SELECT (count(*))::integer AS pending
           FROM flush_binding b_1
          WHERE ((b_1.flush_id = f.id) AND b_1.shown AND (b_1.settled_at IS NULL) AND (NOT COALESCE((b_1.server_id = ANY (b_1.confirmed)), false)))) b)
     CROSS JOIN LATERAL ( SELECT count(*) AS nodes,
            string_agg(COALESCE(NULLIF(k.name, ''::text), (m.node)::text), ', '::text ORDER BY m.node) FILTER (WHERE (m.confirmed_at IS NULL)) AS nodes_pending,
            max(m.attempts) AS attempts,
            string_agg(m.last_error, '; '::text ORDER BY m.node) FILTER (WHERE (m.confirmed_at IS NULL)) AS last_error
           FROM (flush_node m
             LEFT JOIN kamailio_node k ON ((k.server_id = m.node)))
          WHERE (m.flush_id = f.id)) n);

COMMENT ON VIEW report_flush IS 'one row for each flush that is kept (REGISTRATIONS_SYNC_FLUSH_KEEP), with how far it has come';
COMMENT ON COLUMN report_flush.flush_id IS 'flush, as in the API';
COMMENT ON COLUMN report_flush.account_id IS 'account that was flushed';
COMMENT ON COLUMN report_flush.account_name IS 'its name; null: it has none, or is gone';
COMMENT ON COLUMN report_flush.username IS 'username, in lower case; null: the whole account, or several usernames';
COMMENT ON COLUMN report_flush.cause IS 'request (API), command (shell), or what changed in the directory: disabled, deleted, moved, credentials';
COMMENT ON COLUMN report_flush.requested_by IS 'account ID of the client''s token, name of the shell''s user, or worker';
COMMENT ON COLUMN report_flush.requested_at IS 'when it was asked for';
COMMENT ON COLUMN report_flush.finished_at IS 'when the last node confirmed the last binding; null: not yet';
COMMENT ON COLUMN report_flush.registrations IS 'registrations that were listed when it was asked for';
COMMENT ON COLUMN report_flush.flushed IS 'those of them that are gone from their node';
COMMENT ON COLUMN report_flush.pending IS 'those of them that their node has still to confirm; the worker retries';
COMMENT ON COLUMN report_flush.superseded IS 'those of them that had registered again before a retry';
COMMENT ON COLUMN report_flush.percent_done IS 'share that is not pending; null: unfinished, and nothing was listed';
COMMENT ON COLUMN report_flush.nodes IS 'Kamailio nodes that were asked';
COMMENT ON COLUMN report_flush.nodes_pending IS 'nodes that have not confirmed, by name or number; null: none';
COMMENT ON COLUMN report_flush.attempts IS 'attempts at the node that took most; null: none yet';
COMMENT ON COLUMN report_flush.last_error IS 'what pending nodes said last; null: nothing';


-- 0009-access:
-- Tokens of the API. No role reads the hash of a token or of an API key: the functions run with their owner's rights.

CREATE TABLE auth_token (
    id bigint NOT NULL,
    token_hash bytea NOT NULL,
    account_id identifier NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone DEFAULT now() NOT NULL,
    idle_lifetime interval,
    restrictions jsonb,
    CONSTRAINT auth_token_idle_lifetime_check CHECK ((idle_lifetime > '00:00:00'::interval)),
    CONSTRAINT auth_token_restrictions_check CHECK ((jsonb_typeof(restrictions) = 'object'::text)),
    CONSTRAINT auth_token_token_hash_check CHECK ((length(token_hash) = 32))
);

COMMENT ON TABLE auth_token IS 'tokens of the API; each opens an account and those below it';
COMMENT ON COLUMN auth_token.id IS 'number, for commands';
COMMENT ON COLUMN auth_token.token_hash IS 'SHA-256 of the token; the token itself is not kept';
COMMENT ON COLUMN auth_token.account_id IS 'account that it opens';
COMMENT ON COLUMN auth_token.note IS 'what it is for';
COMMENT ON COLUMN auth_token.created_at IS 'when it was made';
COMMENT ON COLUMN auth_token.last_used_at IS 'when it was used last, noted once a minute at the most';
COMMENT ON COLUMN auth_token.idle_lifetime IS 'the token dies when unused for so long; null: never';
COMMENT ON COLUMN auth_token.restrictions IS 'methods, and the patterns of paths that each may be used on; null: all';

ALTER TABLE auth_token ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME auth_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY auth_token
    ADD CONSTRAINT auth_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY auth_token
    ADD CONSTRAINT auth_token_token_hash_key UNIQUE (token_hash);

CREATE INDEX auth_token_account_id_idx ON auth_token USING btree (account_id);

CREATE FUNCTION token_access(given_hash bytea, wanted_account text) RETURNS TABLE(token_hash bytea, account_id text, superduper_admin boolean, wanted_exists boolean, wanted_in_tree boolean, restrictions jsonb)
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

COMMENT ON FUNCTION token_access(given_hash bytea, wanted_account text) IS 'what a token opens: its account, and whether the wanted account is in its tree; no row: no such token, or it is dead';

CREATE FUNCTION token_from_api_key(given_key_hash bytea, new_token_hash bytea, new_idle_lifetime interval, new_restrictions jsonb) RETURNS TABLE(account_id text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    insert into auth_token (token_hash, account_id, note, idle_lifetime, restrictions)
    select new_token_hash, a.id, 'api_auth', new_idle_lifetime, new_restrictions
    from account a
    where a.api_key_hash = given_key_hash and a.enabled
    returning auth_token.account_id::text
$$;

COMMENT ON FUNCTION token_from_api_key(given_key_hash bytea, new_token_hash bytea, new_idle_lifetime interval, new_restrictions jsonb) IS 'makes a token for the account with this API key; no row: there is none, or it is disabled';

CREATE FUNCTION token_revoke(given_hash bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    delete from auth_token t where t.token_hash = given_hash
$$;

COMMENT ON FUNCTION token_revoke(given_hash bytea) IS 'removes a token';

ALTER TABLE ONLY auth_token
    ADD CONSTRAINT auth_token_account_id_fkey FOREIGN KEY (account_id) REFERENCES account(id) ON DELETE CASCADE;


-- 0010-worker:
-- What the worker needs: which worker leads, and what a change of the directory means for those who are registered.

CREATE TABLE leader (
    only_one boolean DEFAULT true NOT NULL,
    term bigint NOT NULL,
    pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    CONSTRAINT leader_only_one_check CHECK (only_one)
);

COMMENT ON TABLE leader IS 'the session of the worker that leads';
COMMENT ON COLUMN leader.only_one IS 'always true: the table has one row at the most';
COMMENT ON COLUMN leader.term IS 'goes up when the lead changes hands; who takes it says which term he saw';
COMMENT ON COLUMN leader.pid IS 'process of its session on this server';
COMMENT ON COLUMN leader.backend_start IS 'with pid, names a session of this server and no other, also after a failover';

ALTER TABLE ONLY leader
    ADD CONSTRAINT leader_pkey PRIMARY KEY (only_one);

CREATE VIEW leading_session AS
 SELECT l.term,
    a.pid,
    a.state_change
   FROM (leader l
     LEFT JOIN pg_stat_activity a ON (((a.pid = l.pid) AND (COALESCE(a.backend_start, l.backend_start) = l.backend_start) AND (a.application_name = 'registrations-sync leader'::text) AND has_table_privilege(a.usesysid, l.tableoid, 'update'::text))));

COMMENT ON VIEW leading_session IS 'the last term, and the session that leads: null when it has ended';
COMMENT ON COLUMN leading_session.term IS 'as in leader';
COMMENT ON COLUMN leading_session.pid IS 'its process; null: it has ended';
COMMENT ON COLUMN leading_session.state_change IS 'when it last began or ended a statement; null: it has ended, or this login may not see it';

CREATE TABLE fingerprint_key (
    only_one boolean DEFAULT true NOT NULL,
    key text NOT NULL,
    CONSTRAINT fingerprint_key_only_one_check CHECK (only_one)
);

COMMENT ON TABLE fingerprint_key IS 'a secret that no role reads: without it a fingerprint tells nothing of the credentials';
COMMENT ON COLUMN fingerprint_key.only_one IS 'always true: the table has one row';
COMMENT ON COLUMN fingerprint_key.key IS 'random';

ALTER TABLE ONLY fingerprint_key
    ADD CONSTRAINT fingerprint_key_pkey PRIMARY KEY (only_one);

CREATE VIEW device_credentials AS
 SELECT sip_lower(d.sip_username) AS username,
    d.realm,
    "left"(md5((k.key || d.ha1)), 16) AS fingerprint,
    d.credentials_changed_at AS changed_at,
    GREATEST(d.disabled_at, a.disabled_at) AS disabled_at
   FROM ((device d
     JOIN account a ON (((a.id)::text = (d.account_id)::text)))
     CROSS JOIN fingerprint_key k);

COMMENT ON VIEW device_credentials IS 'a text of each device that changes with its password, and when it changed; whoever replaces directory may replace this, too';
COMMENT ON COLUMN device_credentials.username IS 'user of the AoR, in lower case';
COMMENT ON COLUMN device_credentials.realm IS 'domain of the AoR';
COMMENT ON COLUMN device_credentials.fingerprint IS 'changes with the password; null: the device has none';
COMMENT ON COLUMN device_credentials.changed_at IS 'when the password last changed; null: never since it was imported';
COMMENT ON COLUMN device_credentials.disabled_at IS 'when device or account was last disabled; null: never since it was imported';

CREATE VIEW location_enrichment AS
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
   FROM ((((location l
     CROSS JOIN ( SELECT COALESCE(kamailio_default_realm(), ( SELECT
                        CASE
                            WHEN (min((account.realm)::text) = max((account.realm)::text)) THEN min((account.realm)::text)
                            ELSE NULL::text
                        END AS "case"
                   FROM account)) AS realm) fallback)
     LEFT JOIN directory d ON (((d.username = sip_lower(aor_username((l.username)::text, (l.domain)::text))) AND (d.realm = sip_lower(COALESCE(aor_realm((l.domain)::text), fallback.realm))))))
     LEFT JOIN device_credentials c ON (((c.username = d.username) AND (c.realm = d.realm))))
     LEFT JOIN LATERAL ( SELECT (account.id)::text AS id,
            account.enabled,
            account.automatic,
            account.disabled_at
           FROM account
          WHERE ((account.realm)::text = sip_lower(COALESCE(aor_realm((l.domain)::text), fallback.realm)))
         LIMIT 1) a ON (true));

COMMENT ON VIEW location_enrichment IS 'what the worker writes to each row of location, and what the row says now';
COMMENT ON COLUMN location_enrichment.id IS 'as in location';
COMMENT ON COLUMN location_enrichment.account_id IS 'account of the device, or else of the realm; null: none';
COMMENT ON COLUMN location_enrichment.device_id IS 'device with this username and realm; null: none';
COMMENT ON COLUMN location_enrichment.owner_id IS 'owner of that device; null: nobody';
COMMENT ON COLUMN location_enrichment.device_state IS 'enabled or disabled, and a fingerprint of the credentials, or automatic for the account of a domain; null: no device and no account';
COMMENT ON COLUMN location_enrichment.credentials_changed_at IS 'when the device''s password last changed; null: not known';
COMMENT ON COLUMN location_enrichment.disabled_at IS 'when device or account was last disabled; null: not known';
COMMENT ON COLUMN location_enrichment.row_account_id IS 'account_id of the row';
COMMENT ON COLUMN location_enrichment.row_device_id IS 'device_id of the row';
COMMENT ON COLUMN location_enrichment.row_owner_id IS 'owner_id of the row';
COMMENT ON COLUMN location_enrichment.row_device_state IS 'device_state of the row';
COMMENT ON COLUMN location_enrichment.enriched_at IS 'as in location';

CREATE FUNCTION registered_before(modified_epoch bigint, changed_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (((modified_epoch)::numeric <= EXTRACT(epoch FROM changed_at)) AND ((changed_at <= now()) OR ((modified_epoch)::numeric > EXTRACT(epoch FROM now()))));

COMMENT ON FUNCTION registered_before(modified_epoch bigint, changed_at timestamp with time zone) IS 'whether a binding registered before a device was changed';
