"""Who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from hostpulse import errors
from storage import keys


class Unauthenticated(errors.Permanent):
    """A valid API key is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling, and what they may do.

    Attributes:
        key_id: of their key; None for a token.
        prefix: of their key; empty for a token.
        subject: of their token.
        expires_wall_ns: when that ends on which this rests; None: not by itself.
        signed_by: SHA-256 of the public key that vouches for their token.
    """

    key_id: int | None
    prefix: str
    role: keys.Role
    server_names: frozenset[str]
    subject: str | None = None
    expires_wall_ns: int | None = None
    signed_by: str | None = None

    @property
    def actor(self) -> str:
        """How the audit log calls them."""
        return f"key {self.prefix}" if self.subject is None else f"jwt {self.subject}"

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return self.role is keys.Role.ADMIN

    @property
    def may_read(self) -> bool:
        """Whether the history of all servers may be read."""
        return self.role in {keys.Role.ADMIN, keys.Role.READER}

    def may_write(self, server_name: str) -> bool:
        """Whether samples of this server may be sent."""
        return self.is_admin or (self.role in keys.BOUND_ROLES and server_name in self.server_names)
