"""Who may do what: API keys, quotas, the audit log, idempotency keys."""
