"""The catalogue of loss terms, presets and architectures."""
