"""Datasets, models and resumable uploads."""
