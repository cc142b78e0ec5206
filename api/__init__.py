"""The web service: rows in, rows out. Never imports torch, directly or through anything it imports."""
