select id, realm from account_after
