"""`python -m api keys`: create the first key, or regain access when locked out."""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import migrations
from api.access import audit, keys
from api.access.keys_schemas import KeyRequest
from api.caller import COMMAND, Scope
from api.db import Database
from api.errors import ApiError
from api.settings import Settings, has_token
from api.tables.keys import ApiKey
from rdrkd.process.secret_hiding import own_folder
from rdrkd.spec.problems import problems_of

USAGE_ERROR = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = commands.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", help="what it is for")
    create.add_argument("--owner", required=True, help="whose things it makes and sees")
    create.add_argument("--scope", choices=[*map(str, Scope)], default=str(Scope.SUBMIT))
    create.add_argument("--days", type=float, help="for how long it is taken; default: for ever")
    commands.add_parser("list", help="list the keys, newest first, without their secrets")
    commands.add_parser("revoke", help="refuse a key from now on").add_argument("id", help="key_...")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command, whether or not the service runs; return the exit status."""
    own_folder(settings.data_dir)
    if settings.migrate_on_start:
        migrations.upgrade(settings.database_url)
    database = Database(settings.database_url)
    try:
        with database.transaction() as session:
            if arguments.action == "create":
                arguments.others = has_token(settings)
            lines = list(_ACTIONS[arguments.action](session, arguments))
    except (ApiError, OverflowError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_ERROR
    finally:
        database.engine.dispose()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _create(session: Session, arguments: argparse.Namespace) -> Iterator[str]:
    asked = {"name": arguments.name, "owner": arguments.owner, "scope": arguments.scope}
    if arguments.days is not None:
        asked["expires_at"] = datetime.now(UTC) + timedelta(days=arguments.days)
    try:
        request = KeyRequest.model_validate(asked)
    except ValidationError as error:
        raise ApiError("; ".join(f"{p.where.strip('/')}: {p.detail}" for p in problems_of(error, asked))) from error
    keys.check_first(session, request, arguments.others)
    row, key = keys.create(session, request)
    audit.record(session, COMMAND, "create_api_key", row.id)
    yield key


def _list(session: Session, _arguments: argparse.Namespace) -> Iterator[str]:
    for row in session.scalars(select(ApiKey).order_by(ApiKey.id.desc())):
        end = f"expires {row.expires_at:%F}" if row.expires_at else ""
        if row.revoked_at:
            end = f"revoked {row.revoked_at:%F}"
        used = f"used {row.last_used_at:%F %H:%M}" if row.last_used_at else "never used"
        yield "  ".join(filter(None, (row.id, row.scope, row.owner, row.name, used, end)))


def _revoke(session: Session, arguments: argparse.Namespace) -> Iterator[str]:
    row = keys.revoke(session, arguments.id)
    audit.record(session, COMMAND, "revoke_api_key", row.id)
    yield f"{row.id} is revoked"


_ACTIONS: dict[str, Callable[[Session, argparse.Namespace], Iterator[str]]] = {
    "create": _create,
    "list": _list,
    "revoke": _revoke,
}
