"""Which block device a mount is on: disk traffic is counted by device, people ask by mount."""

from __future__ import annotations

import re
from datetime import timedelta
from posixpath import basename
from typing import TYPE_CHECKING

from storage.tiers import RAW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection
    from storage.tiers import Tier

LOOKBACK = timedelta(hours=1)  # disk usage is sampled once a minute at least

FIND = """
SELECT m.mount, found.device
FROM unnest($4::text[]) AS m (mount) CROSS JOIN LATERAL (
  SELECT u.device FROM {relation} u
  WHERE u.server_id = $1 AND u.time >= $2 AND u.time < $3 AND u.mount = m.mount
        AND u.device IS NOT NULL
  ORDER BY u.time DESC LIMIT 1
) found
"""  # the newest ends the search: a mount may have a million samples in range

_PARTITION = re.compile(r"((?:nvme\d+n|mmcblk|md)\d+)p\d+|((?:sd|vd|xvd|hd)[a-z]+)\d+")


async def find_devices(
    connection: Connection,
    server_id: int,
    mounts: Sequence[str],
    *,
    start: datetime,
    end: datetime,
    tier: Tier = RAW,
) -> dict[str, str]:
    """Return the names of the block devices (`sda1`) that mounts were on last, where known.

    `start` and `end` bound the search; the hour before `start` counts too. `tier` is where to look:
    what is older than raw samples is known from rollups.
    """
    rows = await connection.fetch(
        FIND.format(relation=f"disk_usage{tier.suffix}"), server_id, start - LOOKBACK, end, mounts
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
