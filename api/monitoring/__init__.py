"""What the operator watches: the whole service in figures, for Prometheus."""
