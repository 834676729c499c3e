"""What an endpoint does to phones through Kamailio."""
