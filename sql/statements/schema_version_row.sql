select from version where table_name = 'location'
