-- The others become accounts like any other.
update account set automatic = false where automatic
