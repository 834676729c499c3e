-- A hot standby refuses serializable transactions. Elsewhere one of ours could fail because of another session. Unlike a
-- select, SET needs no snapshot, so a standby takes it.
set default_transaction_isolation = 'read committed'
