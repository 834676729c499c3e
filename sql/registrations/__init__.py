"""The read model: registrations, their contacts, counts and sources."""
