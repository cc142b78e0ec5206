"""The handlers, one module for each part of the console: each queries the service and renders a template."""
