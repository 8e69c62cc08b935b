"""The full tick that budgets are stated in: 8 cores, 2 disks, 2 interfaces, 20 processes.

All families but disk_usage: about 180 values in 28 rows. The values differ from tick to tick as
real ones do, by a generator with a fixed seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostpulse.v1 import telemetry_pb2 as pb

if TYPE_CHECKING:
    import random


def full_tick(chance: random.Random) -> pb.MetricBatch:
    """Return a batch without envelope."""
    share = chance.random
    batch = pb.MetricBatch(
        cpu=pb.CpuSample(
            usage_percent=40 * share(),
            user_percent=30 * share(),
            system_percent=10 * share(),
            nice_percent=0,
            idle_percent=60,
            iowait_percent=share(),
            irq_percent=0,
            softirq_percent=share(),
            steal_percent=0,
            load1=4 * share(),
            load5=4 * share(),
            load15=4 * share(),
            load1_per_core=share(),
            context_switches_per_s=20_000 * share(),
            interrupts_per_s=10_000 * share(),
            core_usage_percent=[100 * share() for _ in range(8)],
        ),
        memory=pb.MemorySample(
            total_bytes=16 << 30,
            used_bytes=int(16e9 * share()),
            used_percent=100 * share(),
            available_bytes=int(8e9 * share()),
            available_percent=50 * share(),
            free_bytes=int(1e9 * share()),
            buffers_bytes=int(1e8 * share()),
            cached_bytes=int(6e9 * share()),
            swap_total_bytes=2 << 30,
            swap_used_bytes=0,
            swap_used_percent=0,
            page_faults_per_s=5000 * share(),
            major_page_faults_per_s=0,
        ),
        tcp=pb.TcpSample(
            total=300,
            established=int(200 * share()),
            syn_sent=0,
            syn_recv=0,
            fin_wait1=0,
            fin_wait2=1,
            time_wait=int(50 * share()),
            close=0,
            close_wait=0,
            last_ack=0,
            listen=20,
            closing=0,
        ),
        pressure=pb.PressureSample(
            cpu_some_avg10=share(),
            memory_some_avg10=0,
            memory_full_avg10=0,
            io_some_avg10=share(),
            io_full_avg10=share(),
        ),
        agent_health=pb.AgentHealthSample(
            cpu_percent=0.3 * share(),
            memory_rss_bytes=43_000_000,
            collect_ms=8 * share(),
            spool_batches=0,
            spool_bytes=0,
            sent_batches=1,
            failed_sends=0,
            dropped_samples=0,
            clock_offset_ms=share(),
            stuck_collectors=0,
        ),
    )
    for device in ("nvme0n1", "nvme1n1"):
        batch.disk_io.add(
            device=device,
            read_bytes_per_s=1e6 * share(),
            write_bytes_per_s=1e7 * share(),
            reads_per_s=100 * share(),
            writes_per_s=1000 * share(),
            await_ms=2 * share(),
            read_await_ms=share(),
            write_await_ms=3 * share(),
            queue_length=share(),
            utilization_percent=20 * share(),
        )
    for interface in ("eth0", "eth1"):
        batch.network.add(
            interface=interface,
            rx_bytes_per_s=1e7 * share(),
            tx_bytes_per_s=1e7 * share(),
            rx_packets_per_s=1e4 * share(),
            tx_packets_per_s=1e4 * share(),
            rx_drops_per_s=0,
            tx_drops_per_s=0,
            rx_errors_per_s=0,
            tx_errors_per_s=0,
            packet_loss_percent=0,
            speed_mbps=10_000,
            utilization_percent=share(),
        )
    for rank in range(1, 21):
        process = batch.process.add(
            pid=1000 + rank,
            name=f"worker-{rank}",
            username="app",
            cpu_percent=50 * share(),
            memory_rss_bytes=int(5e8 * share()),
            memory_percent=3 * share(),
        )
        if rank <= 10:
            process.cpu_rank = rank
        else:
            process.memory_rank = rank - 10
    return batch


def count_values(batch: pb.MetricBatch) -> int:
    """Return how many values a tick holds: set numbers, elements of arrays, no labels."""
    values = 0
    for field, content in batch.ListFields():
        if field.message_type is None:
            continue
        for sample in content if field.is_repeated else [content]:
            for inner, value in sample.ListFields():
                if inner.is_repeated:
                    values += len(value)
                elif inner.has_presence and inner.type != inner.TYPE_STRING:
                    values += 1
    return values
