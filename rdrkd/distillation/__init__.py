"""The distillation of a teacher and a student: adapters, loss terms, their weights, calibration and schedule."""
