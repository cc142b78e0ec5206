"""Artifacts: the files that a job publishes, available from its first checkpoint on."""
