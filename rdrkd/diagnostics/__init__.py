"""What a training tells about its terms: probes, the guard against inert ones, findings, the report of a run."""
