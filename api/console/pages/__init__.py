"""The handlers, one module for each part of the console: each asks the service and fills a template."""
