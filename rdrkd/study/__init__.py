"""Studies: methods compared over seeds, in members that accumulate over runs and machines."""
