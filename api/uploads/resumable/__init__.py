"""Resumable uploads (tus 1.0.0), for files so large that connections break before their end."""
