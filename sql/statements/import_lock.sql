-- Nobody else writes what the checks have seen; everybody reads on.
lock table account, owner, device in share row exclusive mode
