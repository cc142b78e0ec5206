"""Webhooks: what ends is told to whoever wants to know, signed in the Standard Webhooks form, at least once."""
