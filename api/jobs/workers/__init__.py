"""Workers and the queue: who is there, what they work on, and what waits for them."""
