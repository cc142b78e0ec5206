"""Where a webhook may lead: nowhere inside. Who names an address must not reach what only this machine can reach."""

import ipaddress
import socket
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """The address is none that may be called; the message says what was expected and what came."""


def check_url(url: str, http: bool, private: bool) -> None:
    """Refuse a URL that may not be called, by its form and by what its host's name leads to.

    Args:
        url: the URL.
        http: allow it without TLS.
        private: allow addresses of private networks and of this machine.

    Raises:
        AddressRefused: with what is wrong.
    """
    resolve(*check_form(url, http), private)


def check_form(url: str, http: bool) -> tuple[str, int]:
    """Refuse a URL by its form; give its host and port. Raises `AddressRefused`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressRefused(f"expected a URL, got one that cannot be read: {error}") from error
    schemes = ("https", "http") if http else ("https",)
    if parts.scheme not in schemes or not host:
        raise AddressRefused(f"expected {' or '.join(f'{s}://' for s in schemes)} and a host, got {url[:80]!r}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("expected a URL without a user, a password and a fragment, got one with")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise AddressRefused("expected a URL of printable ASCII, got other characters")
    return host, port or (443 if parts.scheme == "https" else 80)


def resolve(host: str, port: int, private: bool) -> str:
    """Give the address to connect to; of a name all addresses must be allowed, or it is not to be trusted.

    Raises:
        AddressRefused: there is none, or one that is not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"expected a host that can be found, got {host!r}") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses or not all(allowed(ipaddress.ip_address(address), private) for address in addresses):
        raise AddressRefused(f"expected a host with addresses of the internet only, got {host!r}")
    return addresses[0]


def allowed(address: Address, private: bool) -> bool:
    """Say whether an address may be called. Link-local ones never: there the clouds keep their credentials.

    >>> [allowed(ipaddress.ip_address(a), False) for a in ("9.9.9.9", "10.0.0.1", "::1", "64:ff9b::1")]
    [True, False, False, False]
    >>> [allowed(ipaddress.ip_address(a), True) for a in ("9.9.9.9", "10.0.0.1", "::1", "169.254.169.254", "0.0.0.0")]
    [True, True, True, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return allowed(address.ipv4_mapped, private)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False  # the first two lead to an IPv4 address within
    if address.is_loopback:
        return private
    if address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified:
        return False
    return address.is_global or private
