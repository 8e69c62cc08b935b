"""Which block device a mount is on: disk traffic is counted by device, people ask by mount."""

from __future__ import annotations

import re
from datetime import timedelta
from posixpath import basename
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

LOOKBACK = timedelta(hours=1)  # disk usage is sampled once a minute at least

_PARTITION = re.compile(r"((?:nvme\d+n|mmcblk|md)\d+)p\d+|((?:sd|vd|xvd|hd)[a-z]+)\d+")


async def find_devices(
    connection: Connection,
    server_id: int,
    mounts: Sequence[str],
    *,
    start: datetime,
    end: datetime,
) -> dict[str, str]:
    """Return the names of the block devices (`sda1`) that mounts were on last, where known.

    `start` and `end` bound the search; the hour before `start` counts too.
    """
    rows = await connection.fetch(
        """
        SELECT DISTINCT ON (mount) mount, device FROM disk_usage
        WHERE server_id = $1 AND time >= $2 AND time < $3 AND mount = ANY($4::text[])
              AND device IS NOT NULL
        ORDER BY mount, time DESC
        """,
        server_id,
        start - LOOKBACK,
        end,
        mounts,
    )
    return {row["mount"]: name for row in rows if (name := basename(row["device"]))}


def devices_to_read(mount: str, device: str | None) -> list[str]:
    """Return the names under which a mount's traffic may be stored.

    Agents count whole disks, so the disk that a partition is part of is one of them; what came by
    HTTP from a server whose devices are unknown is stored under the mount itself.
    """
    names = [mount]
    if device:
        names.append(device)
        if match := _PARTITION.fullmatch(device):
            names.append(match[1] or match[2])
    return names
