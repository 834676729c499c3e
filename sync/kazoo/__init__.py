"""The import from Kazoo: pulling accounts, users and devices through Crossbar."""
