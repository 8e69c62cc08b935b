"""Secrets at rest."""

from __future__ import annotations

import base64
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet

from hostpulse import errors
from storage import secrets

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_what_is_stored_shows_nothing_and_comes_back():
    box = secrets.SecretBox(NEW)

    stored = box.encrypt("pa55word")

    assert b"pa55word" not in stored
    assert box.decrypt(stored) == "pa55word"


def test_the_first_key_encrypts_and_all_decrypt():
    stored = secrets.SecretBox(OLD).encrypt("pa55word")

    both = secrets.SecretBox(f"{NEW}, {OLD}")

    assert both.decrypt(stored) == "pa55word"
    assert secrets.SecretBox(NEW).decrypt(both.encrypt("other")) == "other"


def test_a_missing_key_is_said_with_the_remedy():
    stored = secrets.SecretBox(OLD).encrypt("pa55word")

    with pytest.raises(secrets.UnreadableSecret, match="add the old key"):
        secrets.SecretBox(NEW).decrypt(stored)


@pytest.mark.parametrize("keys", ["", " , ", "tooshort", f"{NEW},tooshort"])
def test_a_wrong_key_is_refused_and_not_repeated(keys):
    with pytest.raises(errors.ConfigError, match="HOSTPULSE_SECRET_KEY must be keys") as caught:
        secrets.SecretBox(keys)

    assert "tooshort" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    stored = secrets.SecretBox.load({}, tmp_path / "data").encrypt("pa55word")

    again = secrets.SecretBox.load({}, tmp_path / "data")

    file = tmp_path / "data" / "secret.key"
    assert again.decrypt(stored) == "pa55word"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_start_at_once_have_one_key(tmp_path, monkeypatch):
    def take_long() -> bytes:
        time.sleep(0.05)
        return os.urandom(32)

    monkeypatch.setattr(
        secrets.Fernet, "generate_key", lambda: base64.urlsafe_b64encode(take_long())
    )

    with ThreadPoolExecutor(4) as pool:
        boxes = list(pool.map(lambda _: secrets.SecretBox.load({}, tmp_path / "data"), range(4)))

    stored = boxes[0].encrypt("pa55word")
    assert [box.decrypt(stored) for box in boxes] == ["pa55word"] * 4


def test_the_environment_wins_over_the_file(tmp_path):
    box = secrets.SecretBox.load({"HOSTPULSE_SECRET_KEY": OLD}, tmp_path)

    assert secrets.SecretBox(OLD).decrypt(box.encrypt("x")) == "x"
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(errors.ConfigError, match="HOSTPULSE_SECRET_KEY must be set, or"):
        secrets.SecretBox.load({}, tmp_path / "file" / "data")


def test_a_secret_may_live_in_a_variable():
    box = secrets.SecretBox(NEW)

    found = secrets.resolve(box, stored=None, variable="HOOK", environment={"HOOK": "x"})

    assert found == "x"
    assert secrets.resolve(box, stored=None, variable=None, environment={}) is None
    with pytest.raises(secrets.MissingVariable, match="HOOK"):
        secrets.resolve(box, stored=None, variable="HOOK", environment={})
