"""Which address and which network interface of this machine lead to another one."""

import re
import socket
import struct
from pathlib import Path

from lafs_pipeline.runtime.errors import LafsError

SOMEWHERE = "203.0.113.1"
"""An address that is nowhere (RFC 5737); the route to it is the default route."""
SIOCGIFADDR = 0x8915


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[IPv6 address]:port`.

    Raises:
        LafsError: when it is anything else.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):(\d{1,5})", endpoint)
    if match is None or not 0 < int(match[3]) < 2**16:
        raise LafsError(f"launch.rendezvous is {endpoint!r}; give host:port, such as 10.0.0.1:29400")
    return match[1] or match[2], int(match[3])


def local_address(host: str) -> str:
    """The address of this machine that connections to `host` come from.

    A name that this machine's own hosts file maps to loopback (Debian does so for the host name) is
    answered with the address of the default route, because other machines must reach it.

    Raises:
        LafsError: when the name cannot be resolved or nothing leads there.
    """
    address = _address_towards(host)
    if is_loopback(address) and host != "localhost" and not is_loopback(host):
        return _address_towards(SOMEWHERE)
    return address


def is_local(host: str) -> bool:
    """Whether `host` names this machine: one of its addresses can be bound here."""
    for family, kind, _, _, address in _resolve(host):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((address[0], 0))
                return True
            except OSError:
                continue
    return False


def is_loopback(address: str) -> bool:
    """Whether an address leads to this machine alone."""
    return address == "::1" or re.fullmatch(r"127(\.\d+){3}", address) is not None


def interface_of(address: str) -> str | None:
    """The name of the network interface that has an address; None if there is none or no way to tell."""
    try:
        if ":" in address:
            return _interface_of_ipv6(address)
        return next(name for _, name in socket.if_nameindex() if _ipv4_address(name) == address)
    except (OSError, StopIteration, ImportError):
        return None


def _resolve(host: str) -> list[tuple]:
    try:
        return socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LafsError(
            f"the host name {host} cannot be resolved ({error}); give a name or address that every host knows"
        ) from error


def _address_towards(host: str) -> str:
    reason: OSError | None = None
    for family, kind, _, _, address in _resolve(host):
        with socket.socket(family, kind) as probe:
            try:
                probe.connect(address)
                return probe.getsockname()[0]
            except OSError as error:
                reason = error
    raise LafsError(f"no network interface leads to {host} ({reason}); check the address and the network")


def _ipv4_address(interface: str) -> str | None:
    import fcntl  # not on Windows

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _interface_of_ipv6(address: str) -> str | None:
    packed = socket.inet_pton(socket.AF_INET6, address.split("%")[0]).hex()
    for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[0] == packed:
            return fields[5]
    return None
