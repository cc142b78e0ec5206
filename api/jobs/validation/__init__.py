"""Validation: what a job would be, and whether it can work, before it is queued."""
