"""The worker: claim rows, hold their leases, and run one process per attempt. No torch, no FastAPI."""
