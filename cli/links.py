"""The one-time link that signs in to the web page.

The token stands behind the `#`, so no server, proxy or log ever sees it, and opening the page does
not use it up: its button does.
"""

from __future__ import annotations

VARIABLE = "SIGN_IN_TOKEN"  # how `hostpulse up` hands a token to what prepares


def sign_in(address: str, token: str) -> str:
    """Return the link for a gateway at an address (host:port), or at its public URL."""
    base = address if "://" in address else f"http://{address}"
    return f"{base.rstrip('/')}/#/sign-in/{token}"
