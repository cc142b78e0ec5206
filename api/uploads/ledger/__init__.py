"""The ledger: bytes that are reserved before they are written, by owner and for the disk that they go to."""
