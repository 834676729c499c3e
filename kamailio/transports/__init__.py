"""The transports of JSON-RPC to Kamailio."""
