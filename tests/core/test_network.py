"""The network guard is on, and allows loopback."""

import asyncio
import socket

import openai
import pytest

from loopback_only import is_loopback

Refused = pytest.fail.Exception


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        (b"127.0.0.1", True),
        (None, True),
        ("", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),
        ("api.openai.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_which_hosts_are_this_machine(host, inside):
    assert is_loopback(host) is inside


# 192.0.2.0/24 and 2001:db8::/32 are for documentation, so nothing is reached if the guard is off.
@pytest.mark.parametrize("call", ["connect", "connect_ex"])
def test_connections_to_other_hosts_fail_the_test(call):
    with socket.socket() as sock:
        sock.settimeout(0)
        with pytest.raises(Refused, match=r"192\.0\.2\.1"):
            getattr(sock, call)(("192.0.2.1", 443))


def test_ipv6_is_guarded():
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(0)
        with pytest.raises(Refused, match="2001:db8::1"):
            sock.connect(("2001:db8::1", 443))


def test_datagrams_to_other_hosts_fail_the_test():
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(Refused):
        sock.sendto(b"?", ("192.0.2.1", 53))


@pytest.mark.parametrize("call", ["getaddrinfo", "gethostbyname"])
def test_names_are_not_looked_up(call):
    arguments = ("api.openai.com", 443) if call == "getaddrinfo" else ("api.openai.com",)
    with pytest.raises(Refused, match=r"api\.openai\.com"):
        getattr(socket, call)(*arguments)


def test_the_client_cannot_turn_the_guard_into_a_retry():
    client = openai.OpenAI(base_url="http://192.0.2.1/v1", api_key="none", max_retries=2, timeout=0.5)
    with pytest.raises(Refused):
        client.models.list()


def test_the_engines_transport_is_guarded():
    async def call():
        async with openai.DefaultAioHttpClient(timeout=0.5) as http:
            await http.get("http://192.0.2.1/")

    with pytest.raises(Refused):
        asyncio.run(call())


def test_loopback_works():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
        listener.accept()[0] as far,
    ):
        near.sendall(b"hello")
        assert far.recv(5) == b"hello"
