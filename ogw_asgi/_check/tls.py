"""Why a certificate was not taken. Engines say only that it was not; who set it up is told more."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSStream

from ..transports._socket import SocketStream
from ..transports.base import TransportFailure
from ..transports.dial import Dialer


async def why_not_trusted(url: str, context: ssl.SSLContext, connect_s: float) -> str | None:
    """In OpenSSL's words, from a handshake of its own; None if it does not say. Nothing else is sent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with anyio.move_on_after(connect_s):
        try:
            stream = SocketStream(await Dialer().dial(host, parts.port or 443))
        except TransportFailure:
            return None
        try:
            await TLSStream.wrap(stream, hostname=host, ssl_context=context, standard_compatible=False)
        except ssl.SSLCertVerificationError as error:
            return str(error.verify_message)
        except ssl.SSLError as error:
            return "what answers there is not TLS" if error.reason == "WRONG_VERSION_NUMBER" else error.reason
        except (anyio.BrokenResourceError, anyio.EndOfStream, ValueError):
            return None
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
    return None
