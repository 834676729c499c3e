-- The number of a token is a bigint. Each login of a client makes one: a thousand clients that log in every minute would
-- have used the integers within four years, and after that none could log in.

alter table auth_token alter column id type bigint;
