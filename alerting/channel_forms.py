"""What may be said of a channel, whoever says it: a command, or a request.

A channel has a name, a kind, settings that are no secret, and at most one secret: an address, a
token or a key, or `env:NAME` of the variable in which the alert worker finds it. Where a PagerDuty
or Slack secret is sent can't be set here: else whoever may change a channel could read its secret.
"""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from alerting.channels import StoredChannel
from alerting.notifiers import NOTIFIERS, pagerduty, slack, webhooks
from hostpulse import errors
from storage import secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_MAX_CHARACTERS = 2000
RECIPIENTS_MAX = 50
# The settings of each kind; one that is not here has none.
SETTINGS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"email": frozenset({"to", "from"}), "slack": frozenset({"channel"})}
)


def read(
    *,
    name: str,
    kind: str,
    config: Mapping[str, object],
    secret: str | None,
    enabled: bool = True,
    box: Callable[[], secrets.SecretBox],
    present: StoredChannel | None = None,
) -> StoredChannel:
    """Check a channel and encrypt its secret.

    Args:
        name: how it is called.
        kind: one of `NOTIFIERS`.
        config: its settings.
        secret: in clear, or `env:NAME`; None keeps that of `present`.
        enabled: whether it is sent to.
        box: gets the keys, where there is something to encrypt.
        present: the channel that this one replaces.

    Raises:
        ConfigError: a field is wrong; a secret is not repeated.
    """
    if not NAME.fullmatch(name):
        expectation = "1 to 63 letters, digits, dots, dashes or underscores"
        raise errors.ConfigError("name", expectation=expectation, value=name)
    if kind not in NOTIFIERS:
        expectation = f"one of {', '.join(sorted(NOTIFIERS))}"
        raise errors.ConfigError("kind", expectation=expectation, value=kind)
    if present is not None and present.kind != kind:
        expectation = f"{present.kind}, as it is: make a new channel of another kind"
        raise errors.ConfigError("kind", expectation=expectation, value=kind)
    _check_config(kind, config)
    stored, variable = _secret(kind, secret, box)
    if secret is None and present is not None:
        stored, variable = present.secret, present.secret_env
    if kind != "email" and stored is None and variable is None:
        raise errors.ConfigError("secret", expectation=_expectation(kind), value=None)
    if secret is None:  # what it is can't be seen; a channel that is named tells a bot
        is_bot = present is not None and bool(present.config.get("channel"))
    else:
        is_bot = secret.startswith(slack.TOKEN_PREFIXES)
    if kind == "slack" and is_bot and not config.get("channel"):
        expectation = "the id of a channel, like C0123456789, for a bot"
        raise errors.ConfigError("config.channel", expectation=expectation, value=None)
    return StoredChannel(
        name=name,
        kind=kind,
        config=dict(config),
        secret=stored,
        secret_env=variable,
        enabled=enabled,
    )


def where_secret_is(channel: StoredChannel) -> str | None:
    """Say where a secret is, never what it is."""
    if channel.secret_env is not None:
        return f"{secrets.ENV_PREFIX}{channel.secret_env}"
    return "stored, encrypted" if channel.secret is not None else None


def _check_config(kind: str, config: Mapping[str, object]) -> None:
    """Refuse settings that a kind does not have."""
    known = SETTINGS.get(kind, frozenset[str]())
    for key in config:
        if key not in known:
            expectation = f"made of {', '.join(sorted(known))}" if known else "empty"
            raise errors.ConfigError("config", expectation=expectation, value=key)
    if kind == "email":
        _check_recipients(config.get("to"))
        if (sender := config.get("from")) is not None and not is_address(sender):
            raise errors.ConfigError("config.from", expectation="an address", value=sender)
    channel = config.get("channel")
    if channel is not None and not (isinstance(channel, str) and 0 < len(channel) <= 100):
        raise errors.ConfigError("config.channel", expectation="the id of one", value=channel)


def _check_recipients(raw: object) -> None:
    """Refuse what is no list of addresses."""
    expectation = f"1 to {RECIPIENTS_MAX} e-mail addresses"
    if not isinstance(raw, list) or not 1 <= len(cast("Sequence[object]", raw)) <= RECIPIENTS_MAX:
        raise errors.ConfigError("config.to", expectation=expectation, value=raw)
    for each in cast("Sequence[object]", raw):
        if not is_address(each):
            raise errors.ConfigError("config.to", expectation=expectation, value=each)


def is_address(text: object) -> bool:
    """Whether this is one e-mail address."""
    if not isinstance(text, str) or not text.isprintable():
        return False
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, AttributeError, MessageError):  # as the library has it
        return False
    return bool(address.username and address.domain)


def _secret(
    kind: str, secret: str | None, box: Callable[[], secrets.SecretBox]
) -> tuple[bytes | None, str | None]:
    """Return a secret as it is stored: encrypted, or the name of its variable."""
    if secret is None:
        return None, None
    if kind == "email":
        raise errors.ConfigError("secret", expectation="absent: e-mail has none", value="***")
    if secret.startswith(secrets.ENV_PREFIX):
        variable = secret.removeprefix(secrets.ENV_PREFIX)
        if not VARIABLE.fullmatch(variable):
            expectation = "env: and the name of a variable"
            raise errors.ConfigError("secret", expectation=expectation, value="env:***")
        return None, variable
    if len(secret) > SECRET_MAX_CHARACTERS or not _fits(kind, secret):
        raise errors.ConfigError("secret", expectation=_expectation(kind), value="***")
    return box().encrypt(secret), None


def _fits(kind: str, secret: str) -> bool:
    """Whether a secret can be one of this kind."""
    if kind == "pagerduty":
        return pagerduty.ROUTING_KEY.fullmatch(secret) is not None
    if kind == "slack" and secret.startswith(slack.TOKEN_PREFIXES):
        return secret.isascii() and secret.isprintable() and " " not in secret
    address = secret.rpartition(" ")[2] if kind == "webhook" else secret
    try:
        webhooks.check_url(address)
    except errors.ConfigError:
        return False
    return secret.count(" ") <= (kind == "webhook")


def _expectation(kind: str) -> str:
    """Say what a secret of this kind is."""
    what = {
        "pagerduty": "a routing key of 32 letters and digits",
        "slack": "an https:// address of an incoming webhook, or a bot's token (xoxb-…)",
        "webhook": 'an https:// address, or "<key> <address>" to sign with the key',
    }.get(kind, "an https:// address")
    return f"{what}, or env:NAME of a variable"
