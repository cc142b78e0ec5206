"""API keys: who may speak, on whose behalf, and how much they may do."""
