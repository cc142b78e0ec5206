"""Teacher, student and terms between them: adapters, weights, their calibration and schedule."""
