"""Diagnostics of a training's terms: probes, the guard against inert terms, findings, the report of a run."""
