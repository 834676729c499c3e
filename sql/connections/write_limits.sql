-- Data that does not fit into memory goes into a temporary file, here on the disk of the database's tables.
select set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true)
