"""The tests mirror the packages: tests/rdrkd, tests/api, tests/worker; end_to_end covers all of them together."""
