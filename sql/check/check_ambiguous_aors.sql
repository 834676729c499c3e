-- Two devices of one AoR; our own tables forbid it, a view of the operator's cannot.
select username || '@' || realm from directory group by username, realm having count(*) > 1 limit %(limit)s
