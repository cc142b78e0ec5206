"""Between a job and its trainer: claims rows, holds leases, runs one process per attempt. No torch, no FastAPI."""
