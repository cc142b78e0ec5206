"""`python -m api` serves; `migrate` brings the database to the newest revision, `keys` makes and revokes API keys.

`openapi` prints the interface, `console` serves the pages of a service elsewhere.
"""

import argparse
import contextlib
import json
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from api import log_setup, migrations, tracing
from api.access import keys as service
from api.console.app import remote_app
from api.console.session import Ephemeral
from api.db import Database
from api.http import keys_command as keys
from api.http.connections import BoundedProtocol, raise_limits
from api.http.guard import is_loopback
from api.http.main import create_app
from api.settings import Settings
from rdrkd.process.secret_hiding import own_folder

USAGE_ERROR, STARTUP_FAILURE = 2, 3


class Server(uvicorn.Server):
    """The server; on a signal it ends long polls and streams, whose clients reconnect to another process."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a stop signal: end open streams, which would delay the shutdown."""
        self.config.app.state.watch.closing = True  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="serve|migrate|keys|openapi|console")
    for name in ("serve", "migrate", "openapi"):
        commands.add_parser(name)
    keys.add_arguments(commands.add_parser("keys", help="API keys"))
    elsewhere = commands.add_parser("console", help="pages for a service elsewhere, on this machine's loopback address")
    elsewhere.add_argument("--url", required=True, help="base URL of the service")
    elsewhere.add_argument("--port", type=int, default=8001, help="TCP port to listen on")
    parsed = parser.parse_args(arguments)
    try:
        settings = Settings()
        token = settings.read_token()
    except (ValidationError, ValueError, OSError) as error:
        return _refuse(f"the settings are wrong: {error}")
    if parsed.command == "keys":
        return keys.run(settings, parsed)
    if parsed.command == "openapi":
        sys.stdout.write(json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n")
        return 0
    log_setup.set_up(settings)
    if parsed.command == "console":
        return _serve_console(parsed.url, token, parsed.port)
    if parsed.command == "migrate":
        own_folder(settings.data_dir)
        migrations.upgrade(settings.database_url)
        return 0
    if token is None and not is_loopback(settings.host) and not _any_key(settings):
        return _refuse(
            f"expected a token or an API key to listen on {settings.host}, got none: anybody who reaches this port "
            "could queue jobs. Set RDRKD_TOKEN or RDRKD_TOKEN_FILE, run `python -m api keys create`, or listen on "
            "127.0.0.1."
        )
    tracing.set_up("rdrkd-api", redis=True)
    raise_limits()
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        server_header=False,
        log_config=None,  # it logs through our handlers
        access_log=False,  # `api.http.accesslog` writes it
        timeout_graceful_shutdown=max(1, round(settings.stop_grace_seconds)),
    )
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else STARTUP_FAILURE


def _serve_console(url: str, token: str | None, port: int) -> int:
    """Serve the console of another service until a signal; readers without their own key use the token."""
    app = remote_app(url.rstrip("/"), token, Ephemeral())
    config = uvicorn.Config(app, host="127.0.0.1", port=port, server_header=False, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else STARTUP_FAILURE


def _any_key(settings: Settings) -> bool:
    database = Database(settings.database_url)
    try:
        with database.transaction() as session:
            return service.any_key(session)
    except SQLAlchemyError:  # no database, or none with tables: no key either
        return False
    finally:
        database.engine.dispose()


def _refuse(message: str) -> int:
    sys.stderr.write(message + "\n")
    return USAGE_ERROR
