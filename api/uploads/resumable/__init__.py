"""Resumable uploads (tus 1.0.0), for files too large to be sent before the connection breaks.

The bytes of a PATCH are read in `api.http.routes.resumable_piece`, and kept in `api.storage.partial_uploads`.
"""
