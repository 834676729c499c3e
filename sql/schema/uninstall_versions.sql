delete from version where table_name in ('subscriber', 'directory_subscriber') and to_regclass(table_name) is null
