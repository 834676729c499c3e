-- Nobody else writes what the checks have seen, nor imports at the same time; everybody reads on.
lock table account, owner, device in share row exclusive mode
