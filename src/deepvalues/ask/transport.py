"""The HTTP transport of the openai client.

At thousands of requests a second, the client's own transports are slower than the endpoints: they merge and
parse headers and URL for each request, and pass replies through layers for redirects, cookies and
authentication that a chat completion doesn't need. `Transport` passes requests to aiohttp and returns whole
replies; everything else, such as retries, is left to the client, for which `AsyncOpenAI` caches URL and
headers. `Transport` also limits the total time of an attempt, and can be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import httpx2
import openai
from openai._models import FinalRequestOptions

from deepvalues.ask.registry import proxy_for

_TOO_MANY_REQUESTS = 429
#: Appended to the path of a base URL.
PATH = "/chat/completions"
#: The only host that is sent OPENAI_ORG_ID and OPENAI_PROJECT_ID from the environment.
_VENDOR = "api.openai.com"
#: Encodings that httpx2 can decode without optional packages.
_ENCODINGS = {"Accept-Encoding": "gzip, deflate"}
#: Decodes any byte of a header (RFC 9110).
_HEADER_ENCODING = "iso-8859-1"
#: The request extension with what aiohttp sends.
_SENT = "sent"
Client = TypeVar("Client", openai.OpenAI, openai.AsyncOpenAI)
_Sent = tuple[str, tuple[tuple[str, str], ...]]


def of_vendor(client: Client) -> Client:
    """Keep a client from sending the environment's organization and project to anyone but their vendor."""
    if client.base_url.host != _VENDOR:
        client.organization = client.project = None
    return client


class AsyncOpenAI(openai.AsyncOpenAI):
    """The openai client with cached URL and headers, which vary only with the number of a retry.

    If openai renames the two overridden methods, the client becomes slower but stays correct. The class has
    its parent's name because the client reports it to endpoints.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        of_vendor(self)
        self._urls: dict[str, httpx2.URL] = {}
        self._headers: dict[int, httpx2.Headers] = {}

    def _prepare_url(self, url: str) -> httpx2.URL:
        if url not in self._urls:
            self._urls[url] = super()._prepare_url(url)
        return self._urls[url]

    def _build_headers(self, options: FinalRequestOptions, *, retries_taken: int = 0) -> httpx2.Headers:
        if retries_taken not in self._headers:
            self._headers[retries_taken] = super()._build_headers(options, retries_taken=retries_taken)
        return self._headers[retries_taken]


class Transport(httpx2.AsyncClient):
    """An HTTP client for the openai client that uses aiohttp.

    Parameters
    ----------
    base_url
        The endpoint's; loopback addresses bypass any proxy.
    timeout
        Limits one whole attempt, in seconds. A limit on the pauses within a reply would let a slow trickle
        go on for ever.
    refused
        Called when a reply has status 429.
    stopped
        Whether the run has stopped; then no further attempts are made.
    """

    def __init__(
        self, base_url: str, timeout: float, refused: Callable[[], None], stopped: Callable[[], bool]
    ) -> None:
        verify = httpx2.create_ssl_context()
        super().__init__(verify=verify, trust_env=False)
        self._verify = verify
        self._proxy = proxy_for(base_url)
        self._timeout_s, self._refused, self._stopped = timeout, refused, stopped
        self._session: aiohttp.ClientSession | None = None
        # Parsed URLs and headers; requests differ only in content and retry number.
        self._heads: dict[_Sent, tuple[httpx2.URL, httpx2.Headers]] = {}

    def build_request(  # type: ignore[override]
        self, method: str, url: str, *, content: bytes | None = None, headers: Any = None, **_: Any
    ) -> httpx2.Request:
        """Build a request from the openai client's complete URL and headers, without merging anything."""
        sent = str(url), tuple(headers or ())
        if sent not in self._heads:
            self._heads[sent] = httpx2.URL(url), httpx2.Headers(headers)
        parsed, cached = self._heads[sent]
        # A stream, since for content httpx2 would inspect the headers again.
        request = httpx2.Request(method, parsed, headers=cached, stream=httpx2.ByteStream(content or b""))
        request.headers.encoding = cached.encoding
        request.extensions[_SENT] = (*sent, content)
        return request

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Make one attempt and receive the whole reply.

        Raises
        ------
        httpx2.TransportError
            When no complete reply arrives within the timeout.
        asyncio.CancelledError
            After a stop.
        """
        if self._stopped():
            raise asyncio.CancelledError
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._exchange(request)
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no complete reply within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(_cause(error)) from error
        except aiohttp.ServerDisconnectedError as error:
            raise httpx2.ReadError("the server closed the connection before a complete reply") from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error) or type(error).__name__) from error
        if response.status_code == _TOO_MANY_REQUESTS:
            self._refused()
        return response

    async def _exchange(self, request: httpx2.Request) -> httpx2.Response:
        self._session = self._session or self._new_session()
        url, headers, content = request.extensions[_SENT]
        async with self._session.request(request.method, url, data=content, headers=headers) as reply:
            body = await reply.read()
        stream = httpx2.ByteStream(body)
        response = httpx2.Response(reply.status, headers=reply.raw_headers, stream=stream, request=request)
        # Set here so that httpx2 need not detect it for every reply.
        response.headers.encoding = _HEADER_ENCODING
        response.read()
        return response

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # `Pace` limits the connections and `send` the time.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._verify),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=_ENCODINGS,
            # httpx2 decodes the body.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Not `trust_env`: it also takes passwords from ~/.netrc, which conflict with the API key.
            proxy=self._proxy,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
        await super().aclose()


def address(base_url: str) -> str:
    """The URL for chat completions; a query string in the base URL stays at the end."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + PATH))


def _cause(error: aiohttp.ClientConnectorError) -> str:
    """Why no connection was made, without aiohttp's internals."""
    cause: object = error.strerror or error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        certificate = error.certificate_error
        cause = (
            f"its TLS certificate is not trusted: {getattr(certificate, 'verify_message', certificate)}. If "
            "the endpoint is yours, set SSL_CERT_FILE to the certificate of its authority"
        )
    return f"cannot connect to {error.host}:{error.port}: {cause}"
