"""The way of a request: what the openai client hands its requests to.

The client's own transports spend more time on a request than the endpoint's answer does when thousands
are sent a second: headers and URL are merged and parsed again for each, and the reply passes through
layers for redirects, cookies and authentication that a chat completion has no use for. `Transport`
hands a request to aiohttp and a whole reply back; everything else, retries above all, stays with the
client, of which `AsyncOpenAI` here only remembers what it would work out again. `Transport` also bounds an
attempt as a whole, and can stop.
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
#: What is put behind the path of a base URL.
PATH = "/chat/completions"
#: The host that the environment's OPENAI_ORG_ID and OPENAI_PROJECT_ID are for.
_VENDOR = "api.openai.com"
#: What httpx2 can unpack whatever else is installed.
_ENCODINGS = {"Accept-Encoding": "gzip, deflate"}
#: By RFC 9110 every byte of a header can be read so.
_HEADER_ENCODING = "iso-8859-1"
#: Where a request carries what aiohttp sends of it.
_SENT = "sent"
Client = TypeVar("Client", openai.OpenAI, openai.AsyncOpenAI)
_Sent = tuple[str, tuple[tuple[str, str], ...]]


def of_vendor(client: Client) -> Client:
    """A client that names organization and project of the environment to their vendor and nobody else."""
    if client.base_url.host != _VENDOR:
        client.organization = client.project = None
    return client


class AsyncOpenAI(openai.AsyncOpenAI):
    """The openai client, which here sends requests of one kind: what is alike in all is worked out once.

    That is URL and headers, where only the number of a retry differs. Were the two methods to change
    their names, the client would be slower, not wrong. It has its parent's name because that is what it
    calls itself to endpoints.
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
    """An HTTP client for the openai client that sends by aiohttp.

    Parameters
    ----------
    base_url
        Of the endpoint; a proxy from the environment is not for loopback.
    timeout
        Bounds one attempt as a whole, in seconds. Timeouts between two pieces of a reply would let one
        that drips for ever never end.
    refused
        Called when a reply has the status 429.
    stopped
        Whether the run has stopped: then no further attempt is sent.
    """

    def __init__(
        self, base_url: str, timeout: float, refused: Callable[[], None], stopped: Callable[[], bool]
    ) -> None:
        verify = httpx2.create_ssl_context()
        super().__init__(verify=verify, trust_env=False)
        self._verify = verify
        self._proxy = proxy_for(base_url)
        self._bound, self._refused, self._stopped = timeout, refused, stopped
        self._session: aiohttp.ClientSession | None = None
        # What the client reads of requests; they are alike but for their content and a retry's number.
        self._heads: dict[_Sent, tuple[httpx2.URL, httpx2.Headers]] = {}

    def build_request(  # type: ignore[override]
        self, method: str, url: str, *, content: bytes | None = None, headers: Any = None, **_: Any
    ) -> httpx2.Request:
        """Make a request of what the openai client has put together: nothing is left to be merged."""
        sent = str(url), tuple(headers or ())
        if sent not in self._heads:
            self._heads[sent] = httpx2.URL(url), httpx2.Headers(headers)
        parsed, known = self._heads[sent]
        # A stream, since content would have the headers looked through for its length and type again.
        request = httpx2.Request(method, parsed, headers=known, stream=httpx2.ByteStream(content or b""))
        request.headers.encoding = known.encoding
        request.extensions[_SENT] = (*sent, content)
        return request

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Send one attempt and receive the whole reply.

        Raises
        ------
        httpx2.TransportError
            When there is no whole reply, or none within the timeout.
        asyncio.CancelledError
            After a stop.
        """
        if self._stopped():
            raise asyncio.CancelledError
        try:
            async with asyncio.timeout(self._bound):
                response = await self._exchange(request)
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole reply within {self._bound:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(_why(error)) from error
        except aiohttp.ServerDisconnectedError as error:
            raise httpx2.ReadError("the server closed the connection before a whole reply") from error
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
        # Told, it need not be found out from every header of every reply.
        response.headers.encoding = _HEADER_ENCODING
        response.read()
        return response

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # The pace bounds the connections, and `send` the time; limits here would be second ones.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._verify),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=_ENCODINGS,
            # The reply says how its body is packed, and httpx2 unpacks it.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Not `trust_env`: it would also look for a password in ~/.netrc, and fail beside the API key.
            proxy=self._proxy,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
        await super().aclose()


def address(base_url: str) -> str:
    """Where an endpoint takes requests; a query of its base URL stays behind the path."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + PATH))


def _why(error: aiohttp.ClientConnectorError) -> str:
    """What kept a connection from being made, without aiohttp's inner workings."""
    cause: object = error.strerror or error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        certificate = error.certificate_error
        cause = (
            f"its TLS certificate is not trusted: {getattr(certificate, 'verify_message', certificate)}. If "
            "it is your own endpoint, name in SSL_CERT_FILE its authority's certificate"
        )
    return f"cannot connect to {error.host}:{error.port}: {cause}"
