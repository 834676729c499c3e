-- Nobody else may import, or change rows that the checks have read. Readers are not affected.
lock table account, owner, device in share row exclusive mode
