"""What a job can ask for: loss terms, presets, architectures."""
