"""A guard for every test: sockets may reach loopback and nothing else.

A call that would leave the machine fails the test at once, also through clients that turn exceptions
into retries, because pytest's own failure is no `Exception`.
"""

import ipaddress
import socket

import pytest


def is_loopback(host):
    """Whether a host is this machine; an empty or missing one is."""
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host):
    pytest.fail(f"a test reached for the network: {host!r}")


def _guarded(call):
    def guarded(sock, address, *rest):
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            _refuse(address[0])
        return call(sock, address, *rest)

    return guarded


def _guarded_sendto(call):
    def sendto(sock, data, *rest):
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(rest[-1][0]):
            _refuse(rest[-1][0])
        return call(sock, data, *rest)

    return sendto


def _guarded_lookup(call):
    def lookup(host, *rest, **named):
        if not is_loopback(host):
            _refuse(host)
        return call(host, *rest, **named)

    return lookup


@pytest.fixture(scope="session", autouse=True)
def loopback_only():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket.socket, "sendto", _guarded_sendto(socket.socket.sendto))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            patch.setattr(socket, name, _guarded_lookup(getattr(socket, name)))
        yield
