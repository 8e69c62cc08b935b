"""Asking the gateway of this machine whether it is ready, wherever and however it listens."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass

SAID_MAX_BYTES = 500
ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where it listens, from here


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway says; `url` is its base, and `said` a sentence for people."""

    url: str
    ready: bool
    said: str


def from_here(listen: str) -> str:
    """Return the host:port by which this machine reaches what listens at an address."""
    host, _, port = listen.rpartition(":")
    return f"{ANYWHERE.get(host, host)}:{port}"


def ask(listen: str, *, timeout_s: float) -> Answer:
    """Ask over HTTP, and over TLS where there is no answer: that is a setting of the gateway's.

    Its certificate is not checked, for nothing is told. Never raises; each way takes `timeout_s`.
    """
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    said = ""
    for scheme in ("http", "https"):
        url = f"{scheme}://{from_here(listen)}"
        try:
            with urllib.request.urlopen(  # noqa: S310 - one of these two
                f"{url}/readyz", timeout=timeout_s, context=unchecked
            ) as response:
                ready = response.status == http.HTTPStatus.OK
                return Answer(url=url, ready=ready, said=f"{url}/readyz is ready")
        except urllib.error.HTTPError as error:
            told = error.read(SAID_MAX_BYTES).decode(errors="replace")
            return Answer(url=url, ready=False, said=f"{url}/readyz is not ready: {told}")
        except (OSError, http.client.HTTPException) as error:
            said = said or f"{url}/readyz does not answer: {error}"
    return Answer(url=f"http://{from_here(listen)}", ready=False, said=said)
