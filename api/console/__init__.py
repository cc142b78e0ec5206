"""The console: web pages at the same address as the API, and one more client of it.

It reaches the service through `rdrkd.client` only, in this process or over the network, and imports neither tables nor
services (an import contract checks that). docs/console.md shows the pages.
"""
