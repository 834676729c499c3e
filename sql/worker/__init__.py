"""What the worker writes and reads for itself: enrichment, leadership, state."""
