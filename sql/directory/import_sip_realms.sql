select id::text, sip_realm::text from device where sip_realm is not null
