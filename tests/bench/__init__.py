"""Measures that a person runs; no test and no part of the product."""
