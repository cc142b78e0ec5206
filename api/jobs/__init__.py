"""Jobs: their specs, their progress and their results."""
