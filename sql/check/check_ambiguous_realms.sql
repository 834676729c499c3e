select realm::text from account group by realm having count(*) > 1 limit %(limit)s
