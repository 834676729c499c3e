-- What does not fit into memory goes into a temporary file, which is to lie on the disk where the database has its tables.
select set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true)
