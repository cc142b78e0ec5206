"""Commands of the command line that use a service. They import the client only once they run."""
