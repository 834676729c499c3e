select account_follow_domains()
