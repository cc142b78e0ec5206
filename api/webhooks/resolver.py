"""Resolve names with c-ares, so that a name server that does not respond blocks no thread.

`socket.getaddrinfo` cannot be interrupted. In a thread pool, a few names on a dead server would block all threads, and
so the resolution of all other names.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import aiodns

TRY_SECONDS = 1.0  # for a name server's response; doubled for the second try
TRIES = 2  # per name server, so that one lost packet does not cause a failure

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unresolved(Exception):
    """The name has no address, or the name servers refuse the query."""


class Resolver:
    """Resolve any number of names at once, through the hosts file and the name servers of this machine."""

    def __init__(self, servers: Sequence[str] | None = None, port: int = 53) -> None:
        """Use other `servers`, by IP address, on another `port`."""
        self._servers, self._port = servers, port
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, aiodns.DNSResolver] = WeakKeyDictionary()

    async def addresses_of(self, host: str, seconds: float) -> list[Address]:
        """Return the addresses of a host, best first; an address resolves to itself.

        Args:
            host: a name, or an address.
            seconds: total time limit.

        Raises:
            Unresolved: the name has no address.
            TimeoutError: there was no answer in time.
        """
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            pass
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolver().getaddrinfo(host, socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise TimeoutError(f"no name server answered for {host!r} in time") from error
        except (aiodns.error.DNSError, UnicodeError) as error:
            if error.args and error.args[0] == aiodns.error.ARES_ETIMEOUT:
                raise TimeoutError(f"no name server answered for {host!r} in time") from error
            raise Unresolved(host) from error
        return [_address(node.addr[0]) for node in found.nodes]

    def _resolver(self) -> aiodns.DNSResolver:
        loop = asyncio.get_running_loop()
        if (found := self._of_loop.get(loop)) is None:
            ports = {"udp_port": self._port, "tcp_port": self._port} if self._servers else {}
            found = aiodns.DNSResolver(self._servers, loop, timeout=TRY_SECONDS, tries=TRIES, **ports)
            self._of_loop[loop] = found
        return found


def _address(text: bytes | str) -> Address:
    return ipaddress.ip_address((text.decode() if isinstance(text, bytes) else text).partition("%")[0])
