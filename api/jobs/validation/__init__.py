"""Validation: resolve a job's spec and check it without queueing it."""
