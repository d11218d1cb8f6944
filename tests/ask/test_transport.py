"""The engine's HTTP client: complete replies, limited attempts, errors that the openai client retries."""

import asyncio
import contextlib
import gc
import gzip
import json
import ssl
import subprocess
import time
import warnings
import zlib

import httpx2
import openai
import pytest

from deepvalues.ask import protocol
from deepvalues.ask import transport as module
from deepvalues.ask.registry import Endpoint, Model
from deepvalues.ask.transport import AsyncOpenAI, Transport
from faulty_server import CUT, DRIP, HANG, FaultyServer, completion, error, good, http

KEY = "sk-MARKED-0123456789"
#: Far longer than any test takes.
PATIENCE = 30.0
TEXT = "Größe 😀"
SOON = {"retry_after_ms": "1"}


@pytest.fixture
def serve():
    """Serve rules on loopback."""
    with contextlib.ExitStack() as stack:
        yield lambda rule: stack.enter_context(FaultyServer(rule))


@pytest.fixture
def at_once(monkeypatch):
    """Let the client retry without waiting."""
    monkeypatch.setattr(openai.AsyncOpenAI, "_calculate_retry_timeout", lambda *_: 0)


@contextlib.asynccontextmanager
async def connected(
    url, *, retries=0, timeout=PATIENCE, refused=lambda: None, stopped=lambda: False, client=AsyncOpenAI
):
    transport = Transport(url, timeout, refused, stopped)
    options = {"base_url": url, "api_key": KEY, "http_client": transport, "max_retries": retries}
    async with client(**options, timeout=PATIENCE) as opened:
        yield opened


async def post(client, text=TEXT, url="/chat/completions"):
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return await client.post(url, cast_to=httpx2.Response, body=body)


def ask(url, text=TEXT, **options):
    """The text of one reply."""

    async def work():
        async with connected(url, **options) as client:
            return (await post(client, text)).json()["choices"][0]["message"]["content"]

    return asyncio.run(work())


def told(url, **options):
    """The error message for the user, which never has the key."""
    with pytest.raises((openai.OpenAIError, ValueError)) as caught:
        ask(url, **options)
    message = protocol.describe(caught.value, Model("m", Endpoint("custom", url, None), "m"))
    assert KEY not in message
    address = f"{url}/chat/completions: "
    assert message.startswith(address)
    return message.removeprefix(address)


def head_of(server, name, place=-1):
    """The values of a header that the server received."""
    lines = server.headers[place].decode("latin-1").split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in lines if line]
    return [value for found, value in pairs if found.lower() == name]


# Bodies.


def raw_deflate(content):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "raw": raw_deflate, "identity": bytes}


@pytest.mark.parametrize("packing", PACKINGS)
def test_compressed_bodies_are_decoded(serve, packing):
    name = "deflate" if packing == "raw" else packing
    content = PACKINGS[packing](json.dumps(completion(TEXT)).encode())
    server = serve(lambda *_: http(content, content_encoding=name))
    assert ask(server.url) == TEXT
    assert head_of(server, "accept-encoding") == ["gzip, deflate"], "only what can be unpacked is asked for"


def test_a_wrongly_declared_encoding_is_retried(serve, at_once):
    server = serve(lambda text, n, _: good(TEXT) if n == 2 else http(b"{}", content_encoding="gzip"))
    assert ask(server.url, retries=1).startswith("Option")
    assert "incorrect header check" in told(serve(lambda *_: http(b"{}", content_encoding="gzip")).url)


def test_a_chunked_body_is_joined(serve):
    content = json.dumps(completion(TEXT)).encode()
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:7], content[7:])]
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    server = serve(lambda *_: [head, *chunks, b"0\r\n\r\n"])
    assert ask(server.url) == TEXT


def test_large_bodies_work_in_both_directions(serve):
    large = "größer " * 500_000
    server = serve(lambda text, *_: http(completion(text[::-1])))
    assert ask(server.url, large) == large[::-1]


def test_response_headers_may_contain_any_byte(serve):
    reply = good(TEXT).replace(b"HTTP/1.1 200 as told", "HTTP/1.1 200 schön".encode("latin-1"))
    reply = reply.replace(b"content-type", "x-greeting: Grüße 😀\r\nx-raw: \xe9\r\ncontent-type".encode())
    assert ask(serve(lambda *_: reply.replace(b"\xc3\xa9", b"\xe9")).url).startswith("Option")


def test_cached_urls_and_headers_are_correct(serve, at_once):
    def refuses_every_other(text, n, _):
        return error(429, **SOON) if n % 2 else good(text)

    def heads(kind):
        server = serve(refuses_every_other)

        async def work():
            async with connected(server.url, retries=2, client=kind) as client:
                for number in range(4):
                    await post(client, f"{TEXT} {number}")

        asyncio.run(work())
        return [head.replace(server.url.split("/")[2].encode(), b"HOST") for head in server.headers]

    plain = heads(openai.AsyncOpenAI)
    assert heads(AsyncOpenAI) == plain
    assert len(plain) == 8, "each was refused once"
    assert [b"x-stainless-retry-count: 1" in head for head in plain] == [False, True] * 4


def test_a_request_is_sent_as_the_client_made_it(serve):
    server = serve(good)

    async def work():
        async with connected(server.url) as client:
            body = {"messages": [{"role": "user", "content": TEXT}]}
            headers = {"x-word": "a b;c=d"}
            return await client.post("/x", cast_to=httpx2.Response, body=body, options={"headers": headers})

    assert asyncio.run(work()).status_code == 200
    assert server.headers[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert head_of(server, "authorization") == [f"Bearer {KEY}"]
    assert head_of(server, "host") == [server.url.split("/")[2]]
    assert head_of(server, "content-type") == ["application/json"]
    assert head_of(server, "x-word") == ["a b;c=d"]
    assert server.asked == {TEXT: 1}


@pytest.mark.parametrize("base", ["{}", "{}/", "{}/tenants/7", "{}/tenants/a%20b%2Fc/"])
def test_a_base_url_may_have_a_path_and_end_with_a_slash(serve, base):
    server = serve(good)
    ask(base.format(server.url))
    path = base.format("/v1").rstrip("/")
    assert server.headers[0].startswith(f"POST {path}/chat/completions HTTP/1.1\r\n".encode())


# Redirects.


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_keeps_method_and_body_and_key_on_the_same_host(serve, status):
    rule = lambda text, n, _: good(text) if n == 2 else http(b"", status, location="/elsewhere?x=1")  # noqa: E731
    server = serve(rule)
    assert ask(server.url).startswith("Option")
    assert server.headers[1].startswith(b"POST /elsewhere?x=1 HTTP/1.1\r\n")
    assert server.asked == {TEXT: 2}
    assert head_of(server, "authorization") == [f"Bearer {KEY}"]


def test_the_key_does_not_follow_a_redirect_to_another_host(serve):
    other = serve(good)
    server = serve(lambda *_: http(b"", 307, location=other.url.replace("127.0.0.1", "localhost")))
    assert ask(server.url).startswith("Option")
    assert other.asked == {TEXT: 1}
    assert KEY.encode() not in b"".join(other.headers)
    assert head_of(other, "host") == [f"localhost:{other.url.split(':')[2].split('/')[0]}"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", ""])
def test_a_redirect_to_nowhere_is_a_failure(serve, location):
    assert told(serve(lambda *_: http(b"", 307, location=location)).url)


# Failures, which the client retries.


def cut(*_):
    return [good(TEXT)[:-5], CUT]


def silent(*_):
    return [CUT]


BROKEN = {
    "cut in the body": (cut, "payload"),
    "cut before a reply": (silent, "the server closed the connection"),
    "cut in the head": (
        lambda *_: [b"HTTP/1.1 200 OK\r\ncontent-le", CUT],
        "the server closed the connection",
    ),
    "no HTTP": (lambda *_: [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "SSH-2.0"),
    "endless header": (lambda *_: http(b"{}", x="y" * 100_000), "8190"),
}


@pytest.mark.parametrize(("rule", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_replies_are_reported_and_retried(serve, at_once, rule, words):
    server = serve(lambda text, n, body: good(text) if n == 2 else rule(text, n, body))
    assert ask(server.url, retries=1).startswith("Option")
    assert server.asked == {TEXT: 2}
    message = told(serve(rule).url)
    assert message.startswith("Connection error. (")
    assert words in message
    assert "object at 0x" not in message


@pytest.mark.parametrize(
    "steps", [[HANG], [http(b" " * 1000)[:-900], HANG], [http(b" " * 1000)[:-900], DRIP]]
)
def test_the_timeout_limits_a_whole_attempt(serve, steps):
    server = serve(lambda *_: steps)
    started = time.monotonic()
    assert told(server.url, timeout=0.2) == "Request timed out. (no complete reply within 0.2 s)"
    assert time.monotonic() - started < PATIENCE / 2


def test_a_refused_connection_is_reported_with_its_url(serve):
    with FaultyServer() as server:
        url = server.url
    address = url.split("/")[2]
    message = told(url)
    assert message.startswith(f"Connection error. (cannot connect to {address}: Connect call failed")
    assert "object at 0x" not in message


def test_a_lost_connection_is_not_reused(serve):
    server = serve(lambda text, n, body: cut() if text == "cut" else good(text))

    async def work():
        async with connected(server.url) as client:
            await post(client, "first")
            await post(client, "second")
            with pytest.raises(openai.APIConnectionError):
                await post(client, "cut")
            return await post(client, "third")

    assert asyncio.run(work()).status_code == 200
    assert server.connections == 2


# Refusals and stops.


def test_every_429_is_counted(serve):
    counted = []
    server = serve(lambda text, n, _: good(text) if n == 3 else error(429, **SOON))
    assert ask(server.url, retries=2, refused=lambda: counted.append(1)).startswith("Option")
    assert len(counted) == 2
    other = serve(lambda *_: error(500))
    told(other.url, refused=lambda: counted.append(1))
    assert len(counted) == 2, "a 500 is no refusal for haste"


def test_after_a_stop_nothing_is_sent(serve):
    server = serve(lambda *_: error(500, **SOON))
    with pytest.raises(asyncio.CancelledError):
        ask(server.url, retries=5, stopped=lambda: server.requests == 2)
    assert server.requests == 2


def test_a_cancelled_attempt_ends_at_once_and_frees_its_connection(serve):
    server = serve(lambda *_: [HANG])

    async def work():
        async with connected(server.url) as client:
            attempt = asyncio.create_task(post(client))
            while not server.in_flight:
                await asyncio.sleep(0)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt

    asyncio.run(work())


def test_closing_leaves_nothing_open(serve):
    server = serve(good)

    async def work():
        async with connected(server.url) as client:
            await post(client)
            transport = client._client
            session, connector = transport._session, transport._session.connector
        assert transport.is_closed
        assert session.closed
        assert connector.closed

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(work())
        gc.collect()
    assert not caught, "no warning of a session or a connection that was left open"


def test_an_unused_client_can_be_closed():
    async def work():
        async with connected("http://127.0.0.1:9/v1") as client:
            return client._client

    assert asyncio.run(work()).is_closed


# Many at once.


def test_hundreds_are_in_flight_at_once_and_connections_are_used_again(serve):
    number = 300
    together = asyncio.Event()

    async def rule(text, *_):
        if server.in_flight == number:
            together.set()
        await together.wait()
        return http(completion(text))

    server = serve(rule)

    async def work():
        async with connected(server.url) as client:
            for _ in range(2):
                replies = await asyncio.gather(*(post(client, str(place)) for place in range(number)))
                texts = [reply.json()["choices"][0]["message"]["content"] for reply in replies]
                assert texts == [str(place) for place in range(number)]

    asyncio.run(work())
    assert server.most_in_flight == number
    assert server.connections == number


def test_cookies_are_not_kept(serve):
    reply = good(TEXT).replace(b"content-type", b"set-cookie: visit=7; Path=/\r\ncontent-type")
    server = serve(lambda *_: reply)

    async def work():
        async with connected(server.url.replace("127.0.0.1", "localhost")) as client:
            await post(client)
            await post(client)

    asyncio.run(work())
    assert head_of(server, "cookie") == []


# Environment variables.


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_proxy_is_used_for_other_hosts_and_never_for_loopback(serve, no_proxies, monkeypatch):
    proxy, server = serve(good), serve(good)
    monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:secret@").removesuffix("/v1"))
    ask(server.url)
    ask(server.url.replace("127.0.0.1", "localhost"))
    assert (server.requests, proxy.requests) == (2, 0)
    ask("http://endpoint.invalid/v1")
    assert proxy.headers[0].startswith(b"POST http://endpoint.invalid/v1/chat/completions HTTP/1.1\r\n")
    assert head_of(proxy, "host") == ["endpoint.invalid"]
    assert head_of(proxy, "authorization") == [f"Bearer {KEY}"]
    assert head_of(proxy, "proxy-authorization")[0].startswith("Basic ")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_variables_of_proxies(no_proxies, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://proxy.invalid:3128")
    assert module.proxy_for("http://endpoint.invalid/v1") == "http://proxy.invalid:3128"
    for loopback in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:1/v1"):
        assert module.proxy_for(loopback) is None
    https = module.proxy_for("https://endpoint.invalid/v1")
    assert https == ("http://proxy.invalid:3128" if variable == "all_proxy" else None)
    monkeypatch.setenv("no_proxy", ".invalid")
    assert module.proxy_for("http://endpoint.invalid/v1") is None


def test_a_password_in_netrc_does_not_replace_the_key(serve, no_proxies, monkeypatch, tmp_path):
    proxy = serve(good)
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
    ask("http://endpoint.invalid/v1")
    assert head_of(proxy, "authorization") == [f"Bearer {KEY}"]


# Certificates.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for loopback, and its private key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        names = ["-out", "certificate.pem", "-keyout", "private.pem"]
        subprocess.run([*command, *names], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl makes no certificate here: {error}")
    return folder / "certificate.pem", folder / "private.pem"


@pytest.fixture
def secure(certificate):
    """An endpoint with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FaultyServer(tls=context) as server:
        yield server


def test_an_untrusted_certificate_is_reported_with_advice(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    message = told(secure.url)
    assert (
        f"cannot connect to {secure.url.split('/')[2]}: its TLS certificate is not trusted: self" in message
    )
    assert "SSL_CERT_FILE" in message
    assert "object at 0x" not in message
    assert secure.requests == 0, "the key was not sent"


def test_a_certificate_named_in_the_environment_is_trusted(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert ask(secure.url).startswith("Option")


def test_an_endpoint_without_tls_is_reported():
    async def refuse(_, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def work():
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with connected(url) as client:
                with pytest.raises(openai.APIConnectionError) as caught:
                    await post(client)
        return str(caught.value.__cause__)

    message = asyncio.run(work())
    assert message.startswith("cannot connect to 127.0.0.1:")
    assert "object at 0x" not in message
    assert "SSL" in message
