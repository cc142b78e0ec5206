"""Studies: methods compared over seeds, as jobs that belong together."""
