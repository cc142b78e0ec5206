"""Artifacts: the files that a job leaves, handed out from the first checkpoint on."""
