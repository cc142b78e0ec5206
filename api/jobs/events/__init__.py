"""Events: what happens to a job, numbered, as a list and as a stream."""
