"""The raw tables, one per family of metrics."""

from __future__ import annotations

from alembic import op

from storage import engines

revision = "0002"
down_revision = "0001"

# Beside `time timestamptz, server_id integer`. Written out, not taken from the catalog: an applied
# migration never changes. Counts are bigint because the wire's are unsigned: each one fits.
TABLES = {
    "cpu": """
        usage_percent real, user_percent real, system_percent real, nice_percent real,
        idle_percent real, iowait_percent real, irq_percent real, softirq_percent real,
        steal_percent real, load1 real, load5 real, load15 real, load1_per_core real,
        context_switches_per_s real, interrupts_per_s real, core_usage_percent real[]
    """,
    "memory": """
        total_bytes bigint, used_bytes bigint, used_percent real, available_bytes bigint,
        available_percent real, free_bytes bigint, buffers_bytes bigint, cached_bytes bigint,
        swap_total_bytes bigint, swap_used_bytes bigint, swap_used_percent real,
        page_faults_per_s real, major_page_faults_per_s real
    """,
    "disk_usage": """
        mount text NOT NULL, device text, fstype text, total_bytes bigint, used_bytes bigint,
        free_bytes bigint, used_percent real, inodes_total bigint, inodes_used bigint,
        inodes_used_percent real
    """,
    "disk_io": """
        device text NOT NULL, read_bytes_per_s real, write_bytes_per_s real, reads_per_s real,
        writes_per_s real, await_ms real, read_await_ms real, write_await_ms real,
        queue_length real, utilization_percent real
    """,
    "network": """
        interface text NOT NULL, rx_bytes_per_s real, tx_bytes_per_s real, rx_packets_per_s real,
        tx_packets_per_s real, rx_drops_per_s real, tx_drops_per_s real, rx_errors_per_s real,
        tx_errors_per_s real, packet_loss_percent real, speed_mbps real, utilization_percent real
    """,
    "tcp": """
        total bigint, established bigint, syn_sent bigint, syn_recv bigint,
        fin_wait1 bigint, fin_wait2 bigint, time_wait bigint, close bigint,
        close_wait bigint, last_ack bigint, listen bigint, closing bigint
    """,
    "process": """
        pid bigint NOT NULL, name text, username text, cmdline text, cpu_percent real,
        memory_rss_bytes bigint, memory_percent real, cpu_rank bigint, memory_rank bigint
    """,
    "pressure": """
        cpu_some_avg10 real, memory_some_avg10 real, memory_full_avg10 real, io_some_avg10 real,
        io_full_avg10 real
    """,
    "custom": "name text NOT NULL, labels jsonb NOT NULL DEFAULT '{}', value double precision",
    "agent_health": """
        cpu_percent real, memory_rss_bytes bigint, collect_ms real, spool_batches bigint,
        spool_bytes bigint, sent_batches bigint, failed_sends bigint, dropped_samples bigint,
        clock_offset_ms real, stuck_collectors bigint
    """,
}


def upgrade() -> None:
    """Create each table the way the recorded engine keeps it."""
    engine = engines.recorded(op.get_bind())
    for name, columns in TABLES.items():
        for statement in engine.create_table_sql(name, columns):
            op.execute(statement)


def downgrade() -> None:
    """Drop the tables with all their samples."""
    for name in TABLES:  # one by one: a hypertable is not dropped along with others
        op.execute(f"DROP TABLE {name} CASCADE")
