"""THE SCHEDULE: when things happen and in which order; never how (no SQL text, no RPC text)."""
