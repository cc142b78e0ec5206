"""The names and files of a run folder."""
