"""Datasets: uploads that jobs train and evaluate on."""
