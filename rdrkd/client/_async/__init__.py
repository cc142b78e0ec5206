"""The client's methods, and the driver that performs their calls. `_sync` is generated from `_async`."""
