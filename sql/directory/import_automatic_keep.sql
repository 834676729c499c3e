-- The remaining ones become ordinary accounts.
update account set automatic = false where automatic
