"""Attempts: each run of a worker on a job, and the checkpoints that they have left."""
