"""Between a job and its trainer process: claims rows, holds leases, runs one process per attempt. No torch, no FastAPI."""
