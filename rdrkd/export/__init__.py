"""Trained networks in other formats: made, compared with torch on real images, and timed beside it."""
