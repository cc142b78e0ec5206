"""The command line: everything a person types, and terminal output."""
