"""Control: what the owner of a job does with it once it is there."""
