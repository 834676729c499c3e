"""The edits of an operator's kamailio.cfg, and their effects."""
