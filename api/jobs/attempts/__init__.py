"""Attempts: each run of a worker on a job, and the stored checkpoints."""
