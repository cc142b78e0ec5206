"""Control: the owner's operations on an existing job."""
