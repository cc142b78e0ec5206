"""The ledger: disk space that is reserved before it is written, per owner and per disk."""
