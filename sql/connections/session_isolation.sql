-- A hot standby answers nothing that is serializable, and elsewhere a statement of ours could fail by another session's. It
-- reads no table, so the standby takes it, unlike a select.
set default_transaction_isolation = 'read committed'
