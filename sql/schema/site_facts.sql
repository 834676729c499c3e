select kamailio_timezone(), kamailio_default_realm()
