"""`rdrkd workers`."""

from rdrkd.cli.connection import Service, command
from rdrkd.cli.groups import new_app
from rdrkd.cli.terminal import Terminal

workers = new_app("Workers of a service.")


@command(workers, "list")
def list_workers(service: Service, terminal: Terminal) -> None:
    """List the workers and what each is doing."""
    terminal.many("workers", service.workers())


@command(workers, "queue")
def queue(service: Service, terminal: Terminal) -> None:
    """Print the number of jobs by status, and the next ones."""
    terminal.one(service.queue())
