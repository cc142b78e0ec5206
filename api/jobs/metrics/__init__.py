"""Metrics: the figures of each epoch of a job, as rows, columns or CSV."""
