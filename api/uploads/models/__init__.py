"""Models: uploads that jobs distil from, start from or evaluate."""
