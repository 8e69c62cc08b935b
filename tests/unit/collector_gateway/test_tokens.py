from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time as real_time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from collector_gateway import tokens
from collector_gateway.principals import Unauthenticated
from hostpulse import clock, errors
from storage import keys

AUDIENCE = "hostpulse"
PRIVATE = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(key, **more):
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else None
    kind = kind or jwt.algorithms.OKPAlgorithm
    return json.loads(kind.to_jwk(key.public_key())) | more


def now_s() -> int:
    """Now, not when this file was read: a slow run would make tomorrow today."""
    return int(real_time.time())


def claims(**changes):
    now = int(real_time.time())
    made = {"sub": "ann", "aud": AUDIENCE, "exp": now + 600, "iat": now, "role": "reader"}
    made |= changes
    return {name: value for name, value in made.items() if value is not None}


def sign(key=RSA_KEY, algorithm="RS256", headers=None, **changes):
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def make(path, *, is_jwks=False, issuer=None, lifetime_s=86_400, time=None):
    return tokens.Tokens(
        tokens.TokenSettings(
            path=path,
            is_jwks=is_jwks,
            variable="HOSTPULSE_JWT_PUBLIC_KEY",
            audience=AUDIENCE,
            issuer=issuer,
            max_lifetime_s=lifetime_s,
        ),
        clock=time or clock.SystemClock(),
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(RSA_KEY))
    return path


def test_a_good_token_is_its_principal(file):
    who = make(file).verify(sign(role="agent", server="web-1", sub="robot\n7"))

    assert (who.role, who.server_names, who.actor) == (keys.Role.AGENT, {"web-1"}, "jwt robot7")
    assert who.may_write("web-1")
    assert not who.may_write("web-2")
    assert who.expires_wall_ns > real_time.time_ns() + 600e9


def test_an_ed25519_key_is_good_for_eddsa(tmp_path):
    (tmp_path / "key.pem").write_bytes(public_pem(ED_KEY))

    assert make(tmp_path / "key.pem").verify(sign(ED_KEY, "EdDSA")).may_read


def hmac_with_the_public_key() -> str:
    """PyJWT itself refuses to make one: HS256 with the public key's PEM as its secret."""

    def part(value) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims(role="admin"))
    mac = hmac.new(public_pem(RSA_KEY), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


BAD = {
    "no signature": lambda: sign(None, "none", role="admin"),
    "hmac with the public key": hmac_with_the_public_key,
    "another algorithm of the same key": lambda: sign(algorithm="RS512"),
    "another probabilistic one": lambda: sign(algorithm="PS256"),
    "another key": lambda: sign(OTHER_RSA_KEY),
    "a key of another kind": lambda: sign(ED_KEY, "EdDSA"),
    "a changed body": lambda: ".".join(
        a if n != 1 else b
        for n, (a, b) in enumerate(
            zip(sign().split("."), sign(role="admin").split("."), strict=True)
        )
    ),
    "expired": lambda: sign(exp=now_s() - 60, iat=now_s() - 600),
    "without an end": lambda: sign(exp=None),
    "an endless end": lambda: sign(exp=float("inf")),
    "no number for an end": lambda: sign(exp=[1]),
    "too long a life": lambda: sign(exp=now_s() + 90_000),
    "too long a life from its making": lambda: sign(iat=now_s() - 86_000, exp=now_s() + 600),
    "not yet valid": lambda: sign(nbf=now_s() + 120),
    "made in the future": lambda: sign(iat=now_s() + 120),
    "another audience": lambda: sign(aud="grafana"),
    "without an audience": lambda: sign(aud=None),
    "without a role": lambda: sign(role=None),
    "an unknown role": lambda: sign(role="boss"),
    "a role of tokens": lambda: sign(role="enroll"),
    "a role that is no text": lambda: sign(role=["admin"]),
    "an agent without a server": lambda: sign(role="agent"),
    "an agent of two": lambda: sign(role="agent", server=["a", "b"]),
    "a writer of none": lambda: sign(role="writer", server=[]),
    "an admin of one": lambda: sign(role="admin", server="a"),
    "a server that can't be": lambda: sign(role="writer", server=["a\nb"]),
    "a server that is no text": lambda: sign(role="writer", server=[1]),
    "a server that is an object": lambda: sign(role="writer", server={"a": 1}),
    "a critical extension": lambda: sign(headers={"crit": ["exp"]}),
    "too long": lambda: sign(more="x" * 9000),
    "nested": lambda: "eyJ" + base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.e30",
    "no base64": lambda: "eyJ!.e30.e30",
    "no ASCII": lambda: "eyJ\ud800.e30.e30",
}


@pytest.mark.parametrize("kind", BAD)
def test_another_token_is_refused(file, kind):
    token = BAD[kind]()

    with pytest.raises(Unauthenticated) as caught:
        make(file, lifetime_s=86_400 if kind != "too long a life from its making" else 3600).verify(
            token
        )
    assert token not in str(caught.value)


def test_clocks_may_differ_by_thirty_seconds(file):
    checker = make(file)

    checker.verify(sign(exp=now_s() - 20, iat=now_s() - 600))
    checker.verify(sign(nbf=now_s() + 20))


def test_the_issuer_is_checked_where_one_is_set(file):
    checker = make(file, issuer="https://login.example.org")

    assert checker.verify(sign(iss="https://login.example.org")).may_read
    for token in (sign(), sign(iss="https://evil.example.org")):
        with pytest.raises(Unauthenticated):
            checker.verify(token)


def test_of_a_key_set_the_kid_chooses(tmp_path):
    path = tmp_path / "jwks.json"
    other_kind = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "c"}
    path.write_text(json.dumps({"keys": [jwk(RSA_KEY, kid="a"), jwk(ED_KEY, kid="b"), other_kind]}))
    checker = make(path, is_jwks=True)

    assert checker.verify(sign(headers={"kid": "a"})).may_read
    assert checker.verify(sign(ED_KEY, "EdDSA", headers={"kid": "b"})).may_read
    for token in (
        sign(),  # which one?
        sign(headers={"kid": "z"}),
        sign(headers={"kid": "b"}),  # signed with a
        sign(headers={"kid": "c"}),
        sign(OTHER_RSA_KEY, headers={"kid": "a"}),
    ):
        with pytest.raises(Unauthenticated):
            checker.verify(token)


def test_a_changed_file_is_taken_up_and_a_broken_one_is_not(file):
    time = clock.ManualClock(wall_ns=real_time.time_ns())
    checker = make(file, time=time)
    old = checker.verify(sign())

    file.write_text("half of a ke")
    time.advance(1.1)
    assert checker.verify(sign()).may_read
    file.with_suffix(".new").write_bytes(public_pem(OTHER_RSA_KEY))
    file.with_suffix(".new").replace(file)
    time.advance(1.1)

    assert checker.verify(sign(OTHER_RSA_KEY)).may_read
    assert not checker.is_trusted(old.signed_by)
    with pytest.raises(Unauthenticated):
        checker.verify(sign())


@pytest.mark.parametrize(
    ("content", "is_jwks"),
    [
        (b"", False),
        (b"nonsense", False),
        (RSA_KEY.private_bytes(*PRIVATE, serialization.NoEncryption()), False),
        (public_pem(rsa.generate_private_key(65537, 1024)), False),
        (public_pem(ec.generate_private_key(ec.SECP256R1())), False),
        (b"[]", True),
        (b'{"keys": []}', True),
        (b'{"keys": [1]}', True),
        (b'{"keys": [{"kty": "RSA", "n": "AA", "e": "!"}]}', True),
        (json.dumps({"keys": [jwk(RSA_KEY), jwk(OTHER_RSA_KEY)]}).encode(), True),
        (json.dumps({"keys": [jwk(RSA_KEY, use="enc")]}).encode(), True),
    ],
    ids=["empty", "nonsense", "private", "short", "other kind", "list", "none", "number",
         "broken", "no kids", "for encryption"],
)  # fmt: skip
def test_a_file_that_holds_no_key_ends_the_start(tmp_path, content, is_jwks):
    path = tmp_path / "keys"
    path.write_bytes(content)

    with pytest.raises(errors.ConfigError, match="HOSTPULSE_JWT_PUBLIC_KEY must be"):
        make(path, is_jwks=is_jwks)
    with pytest.raises(errors.ConfigError):
        make(tmp_path / "absent", is_jwks=is_jwks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("eyJh.b.c", True), ("hp_1_2", False), ("a.b.c", False), ("eyJ.b", False), ("", False)],
)
def test_a_token_is_told_from_a_key_by_its_shape(text, expected):
    assert tokens.looks_like_one(text) is expected
