"""What `hostpulse top` shows: made of plain values, fit for 80 columns without colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.quantities import in_bytes
from cli.servers import ago
from storage.now import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from storage.detail import Detail
    from storage.overview import Line

STYLES = {
    "offline": "bold red",
    "critical": "red",
    "warning": "yellow",
    "ok": "green",
    "stopped": "blue",
    "new": "dim",
}
BAR_WIDTH = 10
CORES_A_LINE = 8
HIGH, FULL = 80.0, 90.0  # where numbers turn yellow, and red

# What a key sorts the fleet by, the greatest first; states with the worst first.
SORTS: Mapping[str, tuple[str, Callable[[Line], tuple[float, str]]]] = {
    "s": ("state", lambda line: (STATES.index(line.state), line.server.name)),
    "n": ("name", lambda line: (0, line.server.name)),
    "c": ("CPU", lambda line: (-(line.cpu_percent or 0.0), line.server.name)),
    "m": ("memory", lambda line: (-(line.memory_percent or 0.0), line.server.name)),
    "d": ("disk", lambda line: (-(line.disk_percent or 0.0), line.server.name)),
    "t": (
        "traffic",
        lambda line: (
            -((line.rx_bytes_per_s or 0.0) + (line.tx_bytes_per_s or 0.0)),
            line.server.name,
        ),
    ),
}


def fleet(
    lines: Sequence[Line],
    *,
    now: datetime,
    sort: str = "s",
    first: int = 0,
    rows: int | None = None,
) -> Group:
    """Draw all servers.

    Args:
        lines: in any order.
        now: what the clock shows.
        sort: a key of SORTS.
        first: how many to leave out at the top.
        rows: how many there is room for; None for all.
    """
    name, order = SORTS[sort]
    chosen = sorted(lines, key=order)[first : None if rows is None else first + rows]
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("server", ratio=1, no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("state", no_wrap=True)
    for column in ("cpu%", "mem%", "disk%"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("fullest", no_wrap=True, overflow="ellipsis", max_width=12)
    for column in ("in/s", "out/s"):
        table.add_column(column, justify="right", no_wrap=True, min_width=6)
    table.add_column("alerts", justify="right", no_wrap=True)
    for line in chosen:
        table.add_row(
            escape(line.server.name),
            Text(line.state, style=STYLES[line.state]),
            _percent(line.cpu_percent),
            _percent(line.memory_percent),
            _percent(line.disk_percent),
            escape(line.mount or ""),
            _short(line.rx_bytes_per_s),
            _short(line.tx_bytes_per_s),
            str(len(line.firing)) if line.firing else "",
        )
    counts = [
        f"{sum(line.state == state for line in lines)} {state}"
        for state in STATES
        if any(line.state == state for line in lines)
    ]
    hidden = len(lines) - first - len(chosen)
    below = f", {hidden} more below" if hidden else ""
    return Group(
        _header(f"{len(lines)} servers: {', '.join(counts) or 'none yet'}", now),
        Text(f"sorted by {name}{below}", style="dim"),
        table,
    )


def server(detail: Detail, *, now: datetime, height: int | None = None) -> Group:
    """Draw one server.

    Args:
        detail: its newest samples.
        now: what the clock shows.
        height: lines that there are; processes take what is left. None for all of them.
    """
    title = Text.assemble(detail.server, " ", (detail.state, STYLES[detail.state]))
    title.append(f", last heard of {ago(detail.last_seen, now=now)}")
    parts: list[RenderableType] = [_header(title, now), *_processor(detail), *_memory(detail)]
    for each in detail.alerts:
        labels = " ".join(str(value) for value in each.labels.values())
        taken = f" (acknowledged by {each.acknowledged_by})" if each.acknowledged_by else ""
        text = f"! {each.severity}: {each.rule} {labels}".rstrip()
        parts.append(Text(f"{text}{taken}", style=STYLES[each.severity], no_wrap=True))
    tables = [table for table in (_mounts(detail), _devices(detail), _interfaces(detail)) if table]
    parts += tables
    used = len(parts) - len(tables) + sum(table.row_count + 1 for table in tables)
    room = None if height is None else max(0, height - used - 1)
    if detail.by_cpu and room != 0:
        parts.append(_processes(detail, room))
    return Group(*parts)


def _header(text: str | Text, now: datetime) -> Table:
    """Put a text at the left and the clock at the right of a line."""
    line = Table.grid(expand=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(text, f"{now:%H:%M:%S} UTC")
    return line


def _processor(detail: Detail) -> list[RenderableType]:
    """Draw CPU, load, and the cores."""
    if not (cpu := detail.cpu):
        return [Text("CPU     no samples in the last 5 minutes")]
    parts = [f"{name} {_whole(cpu[f'{name}_percent'])}" for name in ("user", "system", "iowait")]
    loads = " ".join(_number(cpu[f"load{n}"]) for n in (1, 5, 15))
    lines: list[RenderableType] = [
        _gauge("CPU", cpu["usage_percent"], f"{' '.join(parts)}  load {loads}")
    ]
    cores: Sequence[float | None] = cpu["core_usage_percent"] or ()
    for begin in range(0, len(cores), CORES_A_LINE):
        line = Text("cores   " if begin == 0 else "        ")
        for number, value in enumerate(cores[begin : begin + CORES_A_LINE], start=begin):
            line.append(f"{number:>3}:")
            line.append_text(_coloured(value, width=4))
        lines.append(line)
    return lines


def _memory(detail: Detail) -> list[RenderableType]:
    """Draw memory and swap."""
    if not (memory := detail.memory):
        return [Text("memory  no samples in the last 5 minutes")]
    sizes = f"{_size(memory['used_bytes'])} of {_size(memory['total_bytes'])}"
    available = f"available {_size(memory['available_bytes'])}"
    swap = f"{_size(memory['swap_used_bytes'])} of {_size(memory['swap_total_bytes'])}"
    return [
        _gauge("memory", memory["used_percent"], f"{sizes}   {available}"),
        _gauge("swap", memory["swap_used_percent"], swap),
    ]


def _mounts(detail: Detail) -> Table | None:
    """Draw how full partitions are, the fullest first."""
    if not detail.mounts:
        return None
    table = _table("mount", "used%", "free", "of", "inodes%")
    for row in sorted(detail.mounts, key=lambda row: -(row["used_percent"] or 0)):
        table.add_row(
            escape(row["mount"]),
            _percent(row["used_percent"]),
            _size(row["free_bytes"]),
            _size(row["total_bytes"]),
            _percent(row["inodes_used_percent"]),
        )
    return table


def _devices(detail: Detail) -> Table | None:
    """Draw how busy devices are."""
    if not detail.devices:
        return None
    table = _table("disk", "read", "written", "reads/s", "writes/s", "await", "busy%")
    for row in detail.devices:
        table.add_row(
            escape(row["device"]),
            _rate(row["read_bytes_per_s"]),
            _rate(row["write_bytes_per_s"]),
            _plain(row["reads_per_s"]),
            _plain(row["writes_per_s"]),
            "" if row["await_ms"] is None else f"{row['await_ms']:.1f} ms",
            _percent(row["utilization_percent"]),
        )
    return table


def _interfaces(detail: Detail) -> Table | None:
    """Draw traffic and what is lost of it."""
    if not detail.interfaces:
        return None
    table = _table("interface", "in", "out", "loss%", "errors/s")
    for row in detail.interfaces:
        errors = [each for each in (row["rx_errors_per_s"], row["tx_errors_per_s"]) if each]
        table.add_row(
            escape(row["interface"]),
            _rate(row["rx_bytes_per_s"]),
            _rate(row["tx_bytes_per_s"]),
            "" if row["packet_loss_percent"] is None else f"{row['packet_loss_percent']:.2f}",
            f"{sum(errors):.1f}" if errors else "0",
        )
    return table


def _processes(detail: Detail, room: int | None) -> Table:
    """Draw who takes most CPU beside who takes most memory."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    for name, value in (("top by CPU", "cpu%"), ("top by memory", "memory")):
        table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("pid", justify="right", no_wrap=True)
        table.add_column(value, justify="right", no_wrap=True, min_width=9)
    count = max(len(detail.by_cpu), len(detail.by_memory))
    for number in range(count if room is None else min(count, room)):
        table.add_row(
            *_process(detail.by_cpu, number, lambda row: _plain(row["cpu_percent"])),
            *_process(detail.by_memory, number, lambda row: _size(row["memory_rss_bytes"])),
        )
    return table


def _process(
    rows: Sequence[Mapping[str, Any]], number: int, value: Callable[[Mapping[str, Any]], str]
) -> tuple[str, str, str]:
    """Write one process of a list that may be shorter."""
    if number >= len(rows):
        return ("", "", "")
    row = rows[number]
    return (escape(row["name"]), str(row["pid"]), value(row))


def _table(first: str, *columns: str) -> Table:
    """Make a table of a name and numbers."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, ratio=1, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, min_width=9)
    return table


def _gauge(name: str, percent: float | None, rest: str) -> Text:
    """Draw a bar with its number: readable without colours."""
    filled = round(min(percent or 0.0, 100.0) / 100 * BAR_WIDTH)
    line = Text(f"{name:<7} [", no_wrap=True)
    line.append("#" * filled, style=_style(percent))
    line.append(f"{' ' * (BAR_WIDTH - filled)}] ")
    line.append_text(_coloured(percent, width=5))
    line.append(f"   {rest}")
    return line


def _coloured(percent: float | None, *, width: int) -> Text:
    """Write a whole percentage."""
    return Text(
        "-".rjust(width) if percent is None else f"{percent:.0f}%".rjust(width),
        style=_style(percent),
    )


def _percent(value: float | None) -> Text:
    """Write a percentage without its sign."""
    return Text("-" if value is None else f"{value:.1f}", style=_style(value))


def _style(percent: float | None) -> str:
    """Return the colour of a percentage."""
    if percent is None or percent < HIGH:
        return ""
    return "yellow" if percent < FULL else "red"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _size(value: float | None) -> str:
    return "-" if value is None else in_bytes(value)


def _short(value: float | None) -> str:
    """Write a size in six characters at most: 2.0M."""
    return "-" if value is None else in_bytes(value).replace(" ", "").removesuffix("iB")


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{in_bytes(value)}/s"
