"""Child processes: their environment, devices, confinement and end."""
