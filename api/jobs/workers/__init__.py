"""Workers and the queue: live workers, what they work on, and the jobs that wait."""
