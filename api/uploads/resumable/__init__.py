"""Resumable uploads (tus 1.0.0), for files too large to be sent before the connection breaks."""
