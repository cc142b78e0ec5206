"""`rdrkd workers`."""

from rdrkd.commands.connection import URL, Json, TokenFile, Url, connected, new_app

workers = new_app("Workers of a service.")


@workers.command("list")
def list_workers(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the workers, with what they do."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("workers", service.workers())


@workers.command("queue")
def queue(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Say how many jobs are where, and which is next."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.one(service.queue())
