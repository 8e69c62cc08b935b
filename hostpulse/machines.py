"""What a machine is called where its id must not be shown."""

from __future__ import annotations

import hashlib

GROUPS = 4
GROUP_CHARACTERS = 4


def fingerprint(machine_id: str) -> str:
    """Return 16 hexadecimal digits that stand for a machine, like `3f9a-02c4-77d1-9be0`.

    Both sides work it out for themselves, so that an admin can compare what the agent's log says
    with what asks to be let in. machine-id(5) asks not to show the id itself.
    """
    digest = hashlib.sha256(f"hostpulse machine {machine_id}".encode()).hexdigest()
    size = GROUP_CHARACTERS
    return "-".join(digest[n * size : (n + 1) * size] for n in range(GROUPS))
