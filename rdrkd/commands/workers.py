"""`rdrkd workers`."""

from rdrkd.commands.connection import URL, Json, TokenFile, Url, connected, new_app

workers = new_app("Workers of a service.")


@workers.command("list")
def list_workers(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the workers and what each is doing."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("workers", service.workers())


@workers.command("queue")
def queue(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Print the number of jobs by status, and the next ones."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.one(service.queue())
