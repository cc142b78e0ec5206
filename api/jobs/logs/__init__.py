"""Logs: what the trainers of a job wrote beside their events, attempt by attempt."""
