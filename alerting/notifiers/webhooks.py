"""Posting JSON to a web service: what all notifiers over HTTP share.

Addresses and tokens are secrets here: no error holds one, whatever httpx would say.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 10.0
DEADLINE_S = 25.0  # for the whole exchange, however slowly it trickles
ANSWER_MAX_BYTES = 65_536
RETRY_STATUSES = frozenset({408, 425, 429})
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def check_url(url: str) -> None:
    """Refuse an address that can't be a webhook's.

    Raises:
        ConfigError: without the address, which is a secret.
    """
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
        )
    except ValueError:
        is_safe, parts = False, None
    if not is_safe or parts is None or not parts.hostname:
        raise errors.ConfigError("url", expectation="an https:// address", value="***")


async def post(
    who: str,
    url: str,
    *,
    content: bytes | None = None,
    json: object = None,
    data: Mapping[str, str] | None = None,
    files: Mapping[str, tuple[str, bytes, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> httpx.Response:
    """Post and return the answer, whose body is read up to 64 KiB. Redirects are not followed.

    Args:
        who: the other side, for errors.
        url: where to.
        content: the body as it is; else `json`, or a form of `data` and `files`.
        json: the body to be written as JSON.
        data: fields of a form.
        files: of a form: name to (file name, content, media type).
        headers: to send.
        params: of the query.
        deadline_s: for the whole exchange.

    Raises:
        Retryable: there was no answer, or one that says "later".
        Permanent: any other answer than success.
    """
    # httpx logs the address of every request at INFO, and these are secrets.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        async with (
            asyncio.timeout(deadline_s),
            httpx.AsyncClient(timeout=TIMEOUT_S) as client,
        ):
            request = client.build_request(
                "POST",
                url,
                content=content,
                json=json,
                data=data,
                files=files,
                headers=headers,
                params=params,
            )
            response = await client.send(request, stream=True)
            try:
                body = await _body(response)
            finally:
                await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        # Some of httpx's errors print the address: only the kind of error is told.
        raise errors.Retryable(f"{who} did not answer: {type(error).__name__}") from None
    if response.is_success:
        return httpx.Response(response.status_code, headers=_plain(response.headers), content=body)
    text = f"{who} answered {response.status_code}"
    if response.status_code in RETRY_STATUSES or response.status_code >= 500:
        raise errors.Retryable(text, after_s=retry_after_s(response.headers.get("Retry-After")))
    raise errors.Permanent(text)


async def _body(response: httpx.Response) -> bytes:
    """Read an answer up to its bound; one that is longer says nothing."""
    body = bytearray()
    async for chunk in response.aiter_bytes(chunk_size=8192):
        body += chunk
        if len(body) > ANSWER_MAX_BYTES:
            return b""
    return bytes(body)


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Return the headers that still hold for a body that is decoded and may be cut off."""
    left_out = {"content-encoding", "content-length", "transfer-encoding"}
    return {key: value for key, value in headers.items() if key not in left_out}


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read how long to wait: seconds, or a date (RFC 9110, section 10.2.3); None: unusable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError):
            return None
        if moment.tzinfo is None:
            return None
        seconds = max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def read_json(response: httpx.Response) -> Mapping[str, object]:
    """Return an answer's object; an empty one where it is none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
