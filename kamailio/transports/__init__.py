"""The ways by which JSON-RPC reaches Kamailio."""
