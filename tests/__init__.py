"""The tests mirror the packages: tests/rdrkd, tests/api, tests/worker; end_to_end goes through all of them."""
