"""Studies: groups of jobs that compare methods over seeds."""
