"""Webhooks: signed messages (Standard Webhooks) when something ends, delivered at least once."""
