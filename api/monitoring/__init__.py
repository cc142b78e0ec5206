"""Monitoring: the metrics of the whole service for Prometheus."""
