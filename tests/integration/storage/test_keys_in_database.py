from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from storage import keys


async def test_a_key_is_verified_after_its_creation_and_stored_only_as_a_hash(connection):
    plaintext = await keys.create(
        connection, role=keys.Role.AGENT, server_names=["web-1"], note="rack 4", created_by="test"
    )

    found = await keys.verify(connection, plaintext)

    assert found is not None
    assert (found.role, found.server_names, found.note) == (keys.Role.AGENT, ("web-1",), "rack 4")
    assert plaintext.startswith(f"hp_{found.prefix}_")
    dump = str(await connection.fetch("SELECT to_jsonb(k) FROM api_key k"))
    assert plaintext.rpartition("_")[2] not in dump
    assert plaintext not in dump


async def test_a_key_with_the_right_prefix_and_another_secret_is_refused(connection):
    plaintext = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    other = f"hp_{keys.prefix_of(plaintext)}_{keys.generate()[-43:]}"

    assert await keys.verify(connection, other) is None
    assert await keys.verify(connection, plaintext[:-1]) is None
    assert await keys.verify(connection, keys.generate()) is None


async def test_a_revoked_key_is_refused_and_keeps_its_first_time(connection):
    plaintext = await keys.create(connection, role=keys.Role.READER, created_by="test")
    prefix = keys.prefix_of(plaintext) or ""

    first = await keys.revoke(connection, prefix, revoked_by="ann")
    second = await keys.revoke(connection, prefix, revoked_by="bob")

    assert await keys.verify(connection, plaintext) is None
    assert first.revoked_at == second.revoked_at is not None


async def test_revoking_a_key_that_is_not_there_says_so(connection):
    with pytest.raises(keys.UnknownKey, match="00000000"):
        await keys.revoke(connection, "00000000", revoked_by="test")


async def test_an_expired_key_is_refused(connection):
    now = datetime.now(UTC)
    late = await keys.create(
        connection,
        role=keys.Role.ADMIN,
        created_by="test",
        expires_at=now - timedelta(seconds=1),
    )
    good = await keys.create(
        connection, role=keys.Role.ADMIN, created_by="test", expires_at=now + timedelta(hours=1)
    )

    assert await keys.verify(connection, late) is None
    assert await keys.verify(connection, good) is not None


async def test_adopting_makes_a_key_of_a_file_valid_once(connection):
    plaintext = keys.generate()

    first = await keys.adopt(connection, plaintext, role=keys.Role.ADMIN, created_by="up")
    second = await keys.adopt(connection, plaintext, role=keys.Role.ADMIN, created_by="up")

    assert (first, second) == (True, False)
    assert await keys.verify(connection, plaintext) is not None


async def test_adopting_does_not_bring_a_revoked_key_back(connection):
    plaintext = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    await keys.revoke(connection, keys.prefix_of(plaintext) or "", revoked_by="test")

    assert not await keys.adopt(connection, plaintext, role=keys.Role.ADMIN, created_by="up")
    assert await keys.verify(connection, plaintext) is None


async def test_making_and_revoking_are_audited(connection):
    plaintext = await keys.create(
        connection, role=keys.Role.WRITER, server_names=["a", "b"], created_by="ann"
    )
    prefix = keys.prefix_of(plaintext)
    await keys.revoke(connection, prefix or "", revoked_by="bob")

    rows = await connection.fetch("SELECT actor, action, object, allowed FROM audit ORDER BY id")

    assert [tuple(row) for row in rows] == [
        ("ann", "key.create", prefix, True),
        ("bob", "key.revoke", prefix, True),
    ]


async def test_use_is_written_down_and_listed(connection):
    plaintext = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    [before] = await keys.list_all(connection)

    await keys.touch(connection, [before.id])
    [after] = await keys.list_all(connection)

    assert before.last_used_at is None
    assert after.last_used_at is not None
    assert plaintext not in repr(after)
