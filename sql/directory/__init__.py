"""Accounts, owners and devices: read from files, or from Kamailio's table `subscriber`."""
