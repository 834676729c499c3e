"""Changes to Kamailio's own tables beside a live proxy."""
