"""THE PROXY: the configuration Kamailio loads, and the one JSON-RPC client that speaks to it.

It knows nothing of tables and nothing of HTTP clients.
"""
