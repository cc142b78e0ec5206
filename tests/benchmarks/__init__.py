"""Measurements of the service that are repeated by a command and committed under `docs/results`."""
