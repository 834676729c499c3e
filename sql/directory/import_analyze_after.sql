analyze account_after, owner_after, device_after
