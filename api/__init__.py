"""The web service: reads and writes rows. Never imports torch, not even indirectly."""
