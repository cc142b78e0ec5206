"""The addresses that a webhook may call: public ones only, so that no caller can reach this machine's network."""

import ipaddress
from urllib.parse import urlsplit

from api.webhooks.resolver import Address, Resolver, Unresolved

RESOLVE_SECONDS = 3.0  # for the host name in a URL that a caller has just sent

# Cloud metadata services, which hold a machine's credentials; rejected even if private networks are allowed. Link-local
# addresses, which most of them use, are always rejected.
METADATA = [
    ipaddress.ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's WireServer: outside every reserved range
        "192.0.0.0/24",  # Oracle (192.0.0.192); IETF protocol assignments
        "192.80.8.124/32",  # Equinix Metal
        "fd00:ec2::/32",  # AWS: metadata, pod identity, DNS, time
        "fd20:ce::/32",  # Google
        "fd00:c1::/32",  # Oracle
        "fd00:42::/32",  # Scaleway
        "fd00:a9fe:a9fe::/48",  # Akamai (Linode)
    )
]
# IPv6 addresses that a gateway turns into any IPv4 address, private ones among them.
TRANSLATED = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48")]


class AddressRefused(Exception):
    """A webhook must not call this URL; the message says what was expected and what was received."""


def check_form(url: str, http: bool) -> tuple[str, int]:
    """Return host and port of a URL; no name is resolved.

    Args:
        url: the URL.
        http: allow it without TLS.

    Raises:
        AddressRefused: the URL is malformed, or has a scheme, a user or a fragment that is not allowed.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressRefused(f"expected a valid URL, got one that cannot be parsed: {error}") from error
    schemes = ("https", "http") if http else ("https",)
    if parts.scheme not in schemes or not host:
        raise AddressRefused(f"expected {' or '.join(f'{s}://' for s in schemes)} and a host, got {url[:80]!r}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("expected a URL without user name, password or fragment, got one that has some of these")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise AddressRefused("expected a URL of printable ASCII, got other characters")
    return host, port or (443 if parts.scheme == "https" else 80)


async def resolve(resolver: Resolver, host: str, private: bool, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Return the addresses of a host, best first. One that is not allowed rejects the whole name.

    Args:
        resolver: asks the name servers.
        host: a name, or an address.
        private: allow addresses of private networks and of this machine.
        seconds: how long to wait for the name servers.

    Raises:
        AddressRefused: the host has no address, or one that is not allowed.
        TimeoutError: no name server answered in time.
    """
    try:
        found = await resolver.addresses_of(host, seconds)
    except Unresolved as error:
        raise AddressRefused(f"expected a host name that resolves, got {host!r}") from error
    if not found or not all(allowed(address, private) for address in found):
        raise AddressRefused(f"expected a host with public addresses only, got {host!r}")
    return [str(address) for address in found]


def allowed(address: Address, private: bool) -> bool:
    """Return whether a webhook may connect to an address.

    >>> [allowed(ipaddress.ip_address(a), False) for a in ("9.9.9.9", "10.0.0.1", "::1", "64:ff9b::1")]
    [True, False, False, False]
    >>> [allowed(ipaddress.ip_address(a), True) for a in ("9.9.9.9", "10.0.0.1", "::1", "169.254.169.254", "0.0.0.0")]
    [True, True, True, False, False]
    >>> [allowed(ipaddress.ip_address(a), True) for a in ("168.63.129.16", "fd00:ec2::254", "64:ff9b:1::a9fe:a9fe")]
    [False, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return allowed(address.ipv4_mapped, private)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False  # the first two lead to an IPv4 address within
    if any(address in network for network in (*METADATA, *TRANSLATED)):
        return False
    if address.is_loopback:
        return private
    if address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified:
        return False
    return address.is_global or private
