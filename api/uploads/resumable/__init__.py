"""Uploads in pieces (the tus protocol, 1.0.0): for files so large that a connection breaks before their end."""
