"""From a checked body to the rows of the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.samples import Submission
    from collector_gateway.services import Rows


def make(submission: Submission, *, server_id: int, devices: Mapping[str, str]) -> Rows:
    """Return the rows by table; disk traffic goes under the mount's device where it is known."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    for name, entries in submission.values.items():
        table = catalog.TABLES[name]
        for label, values in entries.items():
            named: dict[str, object] = {"time": submission.time, "server_id": server_id, **values}
            if table.series:
                given = devices.get(label, label) if table is catalog.DISK_IO else label
                named[table.series[0]] = given
            rows.setdefault(name, []).append(tuple(named.get(each) for each in table.columns))
    return rows
