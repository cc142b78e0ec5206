"""Logs: the standard error of a job's trainers, by attempt."""
