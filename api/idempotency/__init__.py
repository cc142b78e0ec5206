"""Idempotency keys: a request that creates something may be sent again, and creates it once."""
