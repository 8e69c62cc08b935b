from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Family(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAMILY_UNSPECIFIED: _ClassVar[Family]
    FAMILY_CPU: _ClassVar[Family]
    FAMILY_MEMORY: _ClassVar[Family]
    FAMILY_DISK_USAGE: _ClassVar[Family]
    FAMILY_DISK_IO: _ClassVar[Family]
    FAMILY_NETWORK: _ClassVar[Family]
    FAMILY_TCP: _ClassVar[Family]
    FAMILY_PROCESS: _ClassVar[Family]
    FAMILY_PRESSURE: _ClassVar[Family]
    FAMILY_CUSTOM: _ClassVar[Family]
    FAMILY_AGENT_HEALTH: _ClassVar[Family]

class Capability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPABILITY_UNSPECIFIED: _ClassVar[Capability]
    CAPABILITY_CONFIG_PUSH: _ClassVar[Capability]
    CAPABILITY_BACKFILL: _ClassVar[Capability]
    CAPABILITY_CUSTOM_METRICS: _ClassVar[Capability]

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_LIVE: _ClassVar[Lane]
    LANE_BACKFILL: _ClassVar[Lane]

class BatchStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_STATUS_UNSPECIFIED: _ClassVar[BatchStatus]
    BATCH_STATUS_COMMITTED: _ClassVar[BatchStatus]
    BATCH_STATUS_REJECTED: _ClassVar[BatchStatus]

class RejectReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECT_REASON_UNSPECIFIED: _ClassVar[RejectReason]
    REJECT_REASON_OVER_LIMIT: _ClassVar[RejectReason]
    REJECT_REASON_INVALID: _ClassVar[RejectReason]
    REJECT_REASON_TOO_OLD: _ClassVar[RejectReason]
    REJECT_REASON_UNKNOWN_EPOCH: _ClassVar[RejectReason]
    REJECT_REASON_STORAGE: _ClassVar[RejectReason]

class DropReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROP_REASON_UNSPECIFIED: _ClassVar[DropReason]
    DROP_REASON_SPOOL_FULL: _ClassVar[DropReason]
    DROP_REASON_TOO_OLD: _ClassVar[DropReason]
    DROP_REASON_SPOOL_CORRUPT: _ClassVar[DropReason]
    DROP_REASON_MEMORY_BUFFER_FULL: _ClassVar[DropReason]

class GoodbyeReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GOODBYE_REASON_UNSPECIFIED: _ClassVar[GoodbyeReason]
    GOODBYE_REASON_SHUTDOWN: _ClassVar[GoodbyeReason]
    GOODBYE_REASON_REBOOT: _ClassVar[GoodbyeReason]
    GOODBYE_REASON_UPGRADE: _ClassVar[GoodbyeReason]

class RedactionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REDACTION_MODE_UNSPECIFIED: _ClassVar[RedactionMode]
    REDACTION_MODE_SECRETS: _ClassVar[RedactionMode]
    REDACTION_MODE_NAMES_ONLY: _ClassVar[RedactionMode]

class ConfigStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIG_STATUS_UNSPECIFIED: _ClassVar[ConfigStatus]
    CONFIG_STATUS_APPLIED: _ClassVar[ConfigStatus]
    CONFIG_STATUS_REJECTED: _ClassVar[ConfigStatus]
FAMILY_UNSPECIFIED: Family
FAMILY_CPU: Family
FAMILY_MEMORY: Family
FAMILY_DISK_USAGE: Family
FAMILY_DISK_IO: Family
FAMILY_NETWORK: Family
FAMILY_TCP: Family
FAMILY_PROCESS: Family
FAMILY_PRESSURE: Family
FAMILY_CUSTOM: Family
FAMILY_AGENT_HEALTH: Family
CAPABILITY_UNSPECIFIED: Capability
CAPABILITY_CONFIG_PUSH: Capability
CAPABILITY_BACKFILL: Capability
CAPABILITY_CUSTOM_METRICS: Capability
LANE_UNSPECIFIED: Lane
LANE_LIVE: Lane
LANE_BACKFILL: Lane
BATCH_STATUS_UNSPECIFIED: BatchStatus
BATCH_STATUS_COMMITTED: BatchStatus
BATCH_STATUS_REJECTED: BatchStatus
REJECT_REASON_UNSPECIFIED: RejectReason
REJECT_REASON_OVER_LIMIT: RejectReason
REJECT_REASON_INVALID: RejectReason
REJECT_REASON_TOO_OLD: RejectReason
REJECT_REASON_UNKNOWN_EPOCH: RejectReason
REJECT_REASON_STORAGE: RejectReason
DROP_REASON_UNSPECIFIED: DropReason
DROP_REASON_SPOOL_FULL: DropReason
DROP_REASON_TOO_OLD: DropReason
DROP_REASON_SPOOL_CORRUPT: DropReason
DROP_REASON_MEMORY_BUFFER_FULL: DropReason
GOODBYE_REASON_UNSPECIFIED: GoodbyeReason
GOODBYE_REASON_SHUTDOWN: GoodbyeReason
GOODBYE_REASON_REBOOT: GoodbyeReason
GOODBYE_REASON_UPGRADE: GoodbyeReason
REDACTION_MODE_UNSPECIFIED: RedactionMode
REDACTION_MODE_SECRETS: RedactionMode
REDACTION_MODE_NAMES_ONLY: RedactionMode
CONFIG_STATUS_UNSPECIFIED: ConfigStatus
CONFIG_STATUS_APPLIED: ConfigStatus
CONFIG_STATUS_REJECTED: ConfigStatus

class StreamRequest(_message.Message):
    __slots__ = ("hello", "batch", "config_result", "dropped_range", "goodbye", "heartbeat")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CONFIG_RESULT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_RANGE_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    batch: MetricBatch
    config_result: ConfigResult
    dropped_range: DroppedRange
    goodbye: Goodbye
    heartbeat: Heartbeat
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., batch: _Optional[_Union[MetricBatch, _Mapping]] = ..., config_result: _Optional[_Union[ConfigResult, _Mapping]] = ..., dropped_range: _Optional[_Union[DroppedRange, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("welcome", "ack", "config", "backfill_credit", "drain")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BACKFILL_CREDIT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: BatchAck
    config: AgentConfig
    backfill_credit: BackfillCredit
    drain: Drain
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[BatchAck, _Mapping]] = ..., config: _Optional[_Union[AgentConfig, _Mapping]] = ..., backfill_credit: _Optional[_Union[BackfillCredit, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("server_name", "machine_id", "boot_id", "agent_version", "host", "capabilities", "config_revision", "epochs", "epoch", "time_unix_ns", "monotonic_ns", "intervals")
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_REVISION_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    server_name: str
    machine_id: str
    boot_id: bytes
    agent_version: str
    host: HostFacts
    capabilities: _containers.RepeatedScalarFieldContainer[Capability]
    config_revision: int
    epochs: _containers.RepeatedCompositeFieldContainer[EpochState]
    epoch: int
    time_unix_ns: int
    monotonic_ns: int
    intervals: _containers.RepeatedCompositeFieldContainer[FamilyInterval]
    def __init__(self, server_name: _Optional[str] = ..., machine_id: _Optional[str] = ..., boot_id: _Optional[bytes] = ..., agent_version: _Optional[str] = ..., host: _Optional[_Union[HostFacts, _Mapping]] = ..., capabilities: _Optional[_Iterable[_Union[Capability, str]]] = ..., config_revision: _Optional[int] = ..., epochs: _Optional[_Iterable[_Union[EpochState, _Mapping]]] = ..., epoch: _Optional[int] = ..., time_unix_ns: _Optional[int] = ..., monotonic_ns: _Optional[int] = ..., intervals: _Optional[_Iterable[_Union[FamilyInterval, _Mapping]]] = ...) -> None: ...

class FamilyInterval(_message.Message):
    __slots__ = ("family", "interval_s")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    family: Family
    interval_s: float
    def __init__(self, family: _Optional[_Union[Family, str]] = ..., interval_s: _Optional[float] = ...) -> None: ...

class EpochState(_message.Message):
    __slots__ = ("epoch", "last_seq")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    last_seq: int
    def __init__(self, epoch: _Optional[int] = ..., last_seq: _Optional[int] = ...) -> None: ...

class HostFacts(_message.Message):
    __slots__ = ("hostname", "os_name", "os_version", "kernel_version", "architecture", "cpu_model", "cpu_cores_logical", "cpu_cores_physical", "memory_total_bytes", "boot_time_unix_ns", "python_version", "virtualization")
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    OS_NAME_FIELD_NUMBER: _ClassVar[int]
    OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    CPU_MODEL_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_LOGICAL_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_PHYSICAL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    BOOT_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    VIRTUALIZATION_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    os_name: str
    os_version: str
    kernel_version: str
    architecture: str
    cpu_model: str
    cpu_cores_logical: int
    cpu_cores_physical: int
    memory_total_bytes: int
    boot_time_unix_ns: int
    python_version: str
    virtualization: str
    def __init__(self, hostname: _Optional[str] = ..., os_name: _Optional[str] = ..., os_version: _Optional[str] = ..., kernel_version: _Optional[str] = ..., architecture: _Optional[str] = ..., cpu_model: _Optional[str] = ..., cpu_cores_logical: _Optional[int] = ..., cpu_cores_physical: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., boot_time_unix_ns: _Optional[int] = ..., python_version: _Optional[str] = ..., virtualization: _Optional[str] = ...) -> None: ...

class MetricBatch(_message.Message):
    __slots__ = ("epoch", "seq", "lane", "sent_monotonic_ns", "time_unix_ns", "boot_id", "monotonic_ns", "cpu", "memory", "disk_usage", "disk_io", "network", "tcp", "process", "pressure", "custom", "agent_health")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    SENT_MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    DISK_USAGE_FIELD_NUMBER: _ClassVar[int]
    DISK_IO_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    PRESSURE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    AGENT_HEALTH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    lane: Lane
    sent_monotonic_ns: int
    time_unix_ns: int
    boot_id: bytes
    monotonic_ns: int
    cpu: CpuSample
    memory: MemorySample
    disk_usage: _containers.RepeatedCompositeFieldContainer[DiskUsageSample]
    disk_io: _containers.RepeatedCompositeFieldContainer[DiskIoSample]
    network: _containers.RepeatedCompositeFieldContainer[NetworkSample]
    tcp: TcpSample
    process: _containers.RepeatedCompositeFieldContainer[ProcessSample]
    pressure: PressureSample
    custom: _containers.RepeatedCompositeFieldContainer[CustomSample]
    agent_health: AgentHealthSample
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., lane: _Optional[_Union[Lane, str]] = ..., sent_monotonic_ns: _Optional[int] = ..., time_unix_ns: _Optional[int] = ..., boot_id: _Optional[bytes] = ..., monotonic_ns: _Optional[int] = ..., cpu: _Optional[_Union[CpuSample, _Mapping]] = ..., memory: _Optional[_Union[MemorySample, _Mapping]] = ..., disk_usage: _Optional[_Iterable[_Union[DiskUsageSample, _Mapping]]] = ..., disk_io: _Optional[_Iterable[_Union[DiskIoSample, _Mapping]]] = ..., network: _Optional[_Iterable[_Union[NetworkSample, _Mapping]]] = ..., tcp: _Optional[_Union[TcpSample, _Mapping]] = ..., process: _Optional[_Iterable[_Union[ProcessSample, _Mapping]]] = ..., pressure: _Optional[_Union[PressureSample, _Mapping]] = ..., custom: _Optional[_Iterable[_Union[CustomSample, _Mapping]]] = ..., agent_health: _Optional[_Union[AgentHealthSample, _Mapping]] = ...) -> None: ...

class CpuSample(_message.Message):
    __slots__ = ("usage_percent", "user_percent", "system_percent", "nice_percent", "idle_percent", "iowait_percent", "irq_percent", "softirq_percent", "steal_percent", "load1", "load5", "load15", "load1_per_core", "context_switches_per_s", "interrupts_per_s", "core_usage_percent")
    USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    USER_PERCENT_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PERCENT_FIELD_NUMBER: _ClassVar[int]
    NICE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    IDLE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    IOWAIT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    IRQ_PERCENT_FIELD_NUMBER: _ClassVar[int]
    SOFTIRQ_PERCENT_FIELD_NUMBER: _ClassVar[int]
    STEAL_PERCENT_FIELD_NUMBER: _ClassVar[int]
    LOAD1_FIELD_NUMBER: _ClassVar[int]
    LOAD5_FIELD_NUMBER: _ClassVar[int]
    LOAD15_FIELD_NUMBER: _ClassVar[int]
    LOAD1_PER_CORE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SWITCHES_PER_S_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    CORE_USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    usage_percent: float
    user_percent: float
    system_percent: float
    nice_percent: float
    idle_percent: float
    iowait_percent: float
    irq_percent: float
    softirq_percent: float
    steal_percent: float
    load1: float
    load5: float
    load15: float
    load1_per_core: float
    context_switches_per_s: float
    interrupts_per_s: float
    core_usage_percent: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, usage_percent: _Optional[float] = ..., user_percent: _Optional[float] = ..., system_percent: _Optional[float] = ..., nice_percent: _Optional[float] = ..., idle_percent: _Optional[float] = ..., iowait_percent: _Optional[float] = ..., irq_percent: _Optional[float] = ..., softirq_percent: _Optional[float] = ..., steal_percent: _Optional[float] = ..., load1: _Optional[float] = ..., load5: _Optional[float] = ..., load15: _Optional[float] = ..., load1_per_core: _Optional[float] = ..., context_switches_per_s: _Optional[float] = ..., interrupts_per_s: _Optional[float] = ..., core_usage_percent: _Optional[_Iterable[float]] = ...) -> None: ...

class MemorySample(_message.Message):
    __slots__ = ("total_bytes", "used_bytes", "used_percent", "available_bytes", "available_percent", "free_bytes", "buffers_bytes", "cached_bytes", "swap_total_bytes", "swap_used_bytes", "swap_used_percent", "page_faults_per_s", "major_page_faults_per_s")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SWAP_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SWAP_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SWAP_USED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_FAULTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    MAJOR_PAGE_FAULTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    used_bytes: int
    used_percent: float
    available_bytes: int
    available_percent: float
    free_bytes: int
    buffers_bytes: int
    cached_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    swap_used_percent: float
    page_faults_per_s: float
    major_page_faults_per_s: float
    def __init__(self, total_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., used_percent: _Optional[float] = ..., available_bytes: _Optional[int] = ..., available_percent: _Optional[float] = ..., free_bytes: _Optional[int] = ..., buffers_bytes: _Optional[int] = ..., cached_bytes: _Optional[int] = ..., swap_total_bytes: _Optional[int] = ..., swap_used_bytes: _Optional[int] = ..., swap_used_percent: _Optional[float] = ..., page_faults_per_s: _Optional[float] = ..., major_page_faults_per_s: _Optional[float] = ...) -> None: ...

class DiskUsageSample(_message.Message):
    __slots__ = ("mount", "device", "fstype", "total_bytes", "used_bytes", "free_bytes", "used_percent", "inodes_total", "inodes_used", "inodes_used_percent")
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FSTYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    INODES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    INODES_USED_FIELD_NUMBER: _ClassVar[int]
    INODES_USED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    mount: str
    device: str
    fstype: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    used_percent: float
    inodes_total: int
    inodes_used: int
    inodes_used_percent: float
    def __init__(self, mount: _Optional[str] = ..., device: _Optional[str] = ..., fstype: _Optional[str] = ..., total_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., used_percent: _Optional[float] = ..., inodes_total: _Optional[int] = ..., inodes_used: _Optional[int] = ..., inodes_used_percent: _Optional[float] = ...) -> None: ...

class DiskIoSample(_message.Message):
    __slots__ = ("device", "read_bytes_per_s", "write_bytes_per_s", "reads_per_s", "writes_per_s", "await_ms", "read_await_ms", "write_await_ms", "queue_length", "utilization_percent")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    WRITE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    READS_PER_S_FIELD_NUMBER: _ClassVar[int]
    WRITES_PER_S_FIELD_NUMBER: _ClassVar[int]
    AWAIT_MS_FIELD_NUMBER: _ClassVar[int]
    READ_AWAIT_MS_FIELD_NUMBER: _ClassVar[int]
    WRITE_AWAIT_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    device: str
    read_bytes_per_s: float
    write_bytes_per_s: float
    reads_per_s: float
    writes_per_s: float
    await_ms: float
    read_await_ms: float
    write_await_ms: float
    queue_length: float
    utilization_percent: float
    def __init__(self, device: _Optional[str] = ..., read_bytes_per_s: _Optional[float] = ..., write_bytes_per_s: _Optional[float] = ..., reads_per_s: _Optional[float] = ..., writes_per_s: _Optional[float] = ..., await_ms: _Optional[float] = ..., read_await_ms: _Optional[float] = ..., write_await_ms: _Optional[float] = ..., queue_length: _Optional[float] = ..., utilization_percent: _Optional[float] = ...) -> None: ...

class NetworkSample(_message.Message):
    __slots__ = ("interface", "rx_bytes_per_s", "tx_bytes_per_s", "rx_packets_per_s", "tx_packets_per_s", "rx_drops_per_s", "tx_drops_per_s", "rx_errors_per_s", "tx_errors_per_s", "packet_loss_percent", "speed_mbps", "utilization_percent")
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    RX_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    TX_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    RX_PACKETS_PER_S_FIELD_NUMBER: _ClassVar[int]
    TX_PACKETS_PER_S_FIELD_NUMBER: _ClassVar[int]
    RX_DROPS_PER_S_FIELD_NUMBER: _ClassVar[int]
    TX_DROPS_PER_S_FIELD_NUMBER: _ClassVar[int]
    RX_ERRORS_PER_S_FIELD_NUMBER: _ClassVar[int]
    TX_ERRORS_PER_S_FIELD_NUMBER: _ClassVar[int]
    PACKET_LOSS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    SPEED_MBPS_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    interface: str
    rx_bytes_per_s: float
    tx_bytes_per_s: float
    rx_packets_per_s: float
    tx_packets_per_s: float
    rx_drops_per_s: float
    tx_drops_per_s: float
    rx_errors_per_s: float
    tx_errors_per_s: float
    packet_loss_percent: float
    speed_mbps: float
    utilization_percent: float
    def __init__(self, interface: _Optional[str] = ..., rx_bytes_per_s: _Optional[float] = ..., tx_bytes_per_s: _Optional[float] = ..., rx_packets_per_s: _Optional[float] = ..., tx_packets_per_s: _Optional[float] = ..., rx_drops_per_s: _Optional[float] = ..., tx_drops_per_s: _Optional[float] = ..., rx_errors_per_s: _Optional[float] = ..., tx_errors_per_s: _Optional[float] = ..., packet_loss_percent: _Optional[float] = ..., speed_mbps: _Optional[float] = ..., utilization_percent: _Optional[float] = ...) -> None: ...

class TcpSample(_message.Message):
    __slots__ = ("total", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait", "last_ack", "listen", "closing")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    SYN_SENT_FIELD_NUMBER: _ClassVar[int]
    SYN_RECV_FIELD_NUMBER: _ClassVar[int]
    FIN_WAIT1_FIELD_NUMBER: _ClassVar[int]
    FIN_WAIT2_FIELD_NUMBER: _ClassVar[int]
    TIME_WAIT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_WAIT_FIELD_NUMBER: _ClassVar[int]
    LAST_ACK_FIELD_NUMBER: _ClassVar[int]
    LISTEN_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    total: int
    established: int
    syn_sent: int
    syn_recv: int
    fin_wait1: int
    fin_wait2: int
    time_wait: int
    close: int
    close_wait: int
    last_ack: int
    listen: int
    closing: int
    def __init__(self, total: _Optional[int] = ..., established: _Optional[int] = ..., syn_sent: _Optional[int] = ..., syn_recv: _Optional[int] = ..., fin_wait1: _Optional[int] = ..., fin_wait2: _Optional[int] = ..., time_wait: _Optional[int] = ..., close: _Optional[int] = ..., close_wait: _Optional[int] = ..., last_ack: _Optional[int] = ..., listen: _Optional[int] = ..., closing: _Optional[int] = ...) -> None: ...

class ProcessSample(_message.Message):
    __slots__ = ("pid", "name", "username", "cmdline", "cpu_percent", "memory_rss_bytes", "memory_percent", "cpu_rank", "memory_rank")
    PID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    CMDLINE_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CPU_RANK_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RANK_FIELD_NUMBER: _ClassVar[int]
    pid: int
    name: str
    username: str
    cmdline: str
    cpu_percent: float
    memory_rss_bytes: int
    memory_percent: float
    cpu_rank: int
    memory_rank: int
    def __init__(self, pid: _Optional[int] = ..., name: _Optional[str] = ..., username: _Optional[str] = ..., cmdline: _Optional[str] = ..., cpu_percent: _Optional[float] = ..., memory_rss_bytes: _Optional[int] = ..., memory_percent: _Optional[float] = ..., cpu_rank: _Optional[int] = ..., memory_rank: _Optional[int] = ...) -> None: ...

class PressureSample(_message.Message):
    __slots__ = ("cpu_some_avg10", "memory_some_avg10", "memory_full_avg10", "io_some_avg10", "io_full_avg10")
    CPU_SOME_AVG10_FIELD_NUMBER: _ClassVar[int]
    MEMORY_SOME_AVG10_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FULL_AVG10_FIELD_NUMBER: _ClassVar[int]
    IO_SOME_AVG10_FIELD_NUMBER: _ClassVar[int]
    IO_FULL_AVG10_FIELD_NUMBER: _ClassVar[int]
    cpu_some_avg10: float
    memory_some_avg10: float
    memory_full_avg10: float
    io_some_avg10: float
    io_full_avg10: float
    def __init__(self, cpu_some_avg10: _Optional[float] = ..., memory_some_avg10: _Optional[float] = ..., memory_full_avg10: _Optional[float] = ..., io_some_avg10: _Optional[float] = ..., io_full_avg10: _Optional[float] = ...) -> None: ...

class CustomSample(_message.Message):
    __slots__ = ("name", "labels", "value")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.ScalarMap[str, str]
    value: float
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., value: _Optional[float] = ...) -> None: ...

class AgentHealthSample(_message.Message):
    __slots__ = ("cpu_percent", "memory_rss_bytes", "collect_ms", "spool_batches", "spool_bytes", "sent_batches", "failed_sends", "dropped_samples", "clock_offset_ms", "stuck_collectors", "unspooled_batches")
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    COLLECT_MS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BATCHES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BATCHES_FIELD_NUMBER: _ClassVar[int]
    FAILED_SENDS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_MS_FIELD_NUMBER: _ClassVar[int]
    STUCK_COLLECTORS_FIELD_NUMBER: _ClassVar[int]
    UNSPOOLED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    cpu_percent: float
    memory_rss_bytes: int
    collect_ms: float
    spool_batches: int
    spool_bytes: int
    sent_batches: int
    failed_sends: int
    dropped_samples: int
    clock_offset_ms: float
    stuck_collectors: int
    unspooled_batches: int
    def __init__(self, cpu_percent: _Optional[float] = ..., memory_rss_bytes: _Optional[int] = ..., collect_ms: _Optional[float] = ..., spool_batches: _Optional[int] = ..., spool_bytes: _Optional[int] = ..., sent_batches: _Optional[int] = ..., failed_sends: _Optional[int] = ..., dropped_samples: _Optional[int] = ..., clock_offset_ms: _Optional[float] = ..., stuck_collectors: _Optional[int] = ..., unspooled_batches: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("committed", "limits", "capabilities", "config", "time_unix_ns")
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    committed: _containers.RepeatedCompositeFieldContainer[CommittedRanges]
    limits: Limits
    capabilities: _containers.RepeatedScalarFieldContainer[Capability]
    config: AgentConfig
    time_unix_ns: int
    def __init__(self, committed: _Optional[_Iterable[_Union[CommittedRanges, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., capabilities: _Optional[_Iterable[_Union[Capability, str]]] = ..., config: _Optional[_Union[AgentConfig, _Mapping]] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class CommittedRanges(_message.Message):
    __slots__ = ("epoch", "ranges")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    ranges: _containers.RepeatedCompositeFieldContainer[SeqRange]
    def __init__(self, epoch: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[SeqRange, _Mapping]]] = ...) -> None: ...

class SeqRange(_message.Message):
    __slots__ = ("first_seq", "last_seq")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    last_seq: int
    def __init__(self, first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_samples_per_batch", "max_batch_bytes", "heartbeat_interval_s")
    MAX_SAMPLES_PER_BATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    max_samples_per_batch: int
    max_batch_bytes: int
    heartbeat_interval_s: float
    def __init__(self, max_samples_per_batch: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., heartbeat_interval_s: _Optional[float] = ...) -> None: ...

class BatchAck(_message.Message):
    __slots__ = ("epoch", "seq", "status", "reason", "detail", "rejected")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    status: BatchStatus
    reason: RejectReason
    detail: str
    rejected: _containers.RepeatedCompositeFieldContainer[RejectedSample]
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., status: _Optional[_Union[BatchStatus, str]] = ..., reason: _Optional[_Union[RejectReason, str]] = ..., detail: _Optional[str] = ..., rejected: _Optional[_Iterable[_Union[RejectedSample, _Mapping]]] = ...) -> None: ...

class RejectedSample(_message.Message):
    __slots__ = ("index", "reason", "detail")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: RejectReason
    detail: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[_Union[RejectReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class DroppedRange(_message.Message):
    __slots__ = ("epoch", "seqs", "from_time_unix_ns", "to_time_unix_ns", "reason")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQS_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seqs: SeqRange
    from_time_unix_ns: int
    to_time_unix_ns: int
    reason: DropReason
    def __init__(self, epoch: _Optional[int] = ..., seqs: _Optional[_Union[SeqRange, _Mapping]] = ..., from_time_unix_ns: _Optional[int] = ..., to_time_unix_ns: _Optional[int] = ..., reason: _Optional[_Union[DropReason, str]] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: GoodbyeReason
    def __init__(self, reason: _Optional[_Union[GoodbyeReason, str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("time_unix_ns", "monotonic_ns")
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    time_unix_ns: int
    monotonic_ns: int
    def __init__(self, time_unix_ns: _Optional[int] = ..., monotonic_ns: _Optional[int] = ...) -> None: ...

class BackfillCredit(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: int
    def __init__(self, batches: _Optional[int] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reconnect_after_s", "detail")
    RECONNECT_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reconnect_after_s: float
    detail: str
    def __init__(self, reconnect_after_s: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...

class NameFilter(_message.Message):
    __slots__ = ("include", "exclude")
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    include: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, include: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ...) -> None: ...

class InterfaceSpeed(_message.Message):
    __slots__ = ("interface", "speed_mbps")
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    SPEED_MBPS_FIELD_NUMBER: _ClassVar[int]
    interface: str
    speed_mbps: float
    def __init__(self, interface: _Optional[str] = ..., speed_mbps: _Optional[float] = ...) -> None: ...

class AgentConfig(_message.Message):
    __slots__ = ("revision", "intervals", "disabled_families", "process_top_n", "mounts", "interfaces", "devices", "interface_speeds", "redaction", "redaction_patterns", "max_samples_per_batch", "spool_max_bytes", "spool_max_age_s", "enabled_families")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FAMILIES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_TOP_N_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_SPEEDS_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    REDACTION_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    MAX_SAMPLES_PER_BATCH_FIELD_NUMBER: _ClassVar[int]
    SPOOL_MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FAMILIES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    intervals: _containers.RepeatedCompositeFieldContainer[FamilyInterval]
    disabled_families: _containers.RepeatedScalarFieldContainer[Family]
    process_top_n: int
    mounts: NameFilter
    interfaces: NameFilter
    devices: NameFilter
    interface_speeds: _containers.RepeatedCompositeFieldContainer[InterfaceSpeed]
    redaction: RedactionMode
    redaction_patterns: _containers.RepeatedScalarFieldContainer[str]
    max_samples_per_batch: int
    spool_max_bytes: int
    spool_max_age_s: float
    enabled_families: _containers.RepeatedScalarFieldContainer[Family]
    def __init__(self, revision: _Optional[int] = ..., intervals: _Optional[_Iterable[_Union[FamilyInterval, _Mapping]]] = ..., disabled_families: _Optional[_Iterable[_Union[Family, str]]] = ..., process_top_n: _Optional[int] = ..., mounts: _Optional[_Union[NameFilter, _Mapping]] = ..., interfaces: _Optional[_Union[NameFilter, _Mapping]] = ..., devices: _Optional[_Union[NameFilter, _Mapping]] = ..., interface_speeds: _Optional[_Iterable[_Union[InterfaceSpeed, _Mapping]]] = ..., redaction: _Optional[_Union[RedactionMode, str]] = ..., redaction_patterns: _Optional[_Iterable[str]] = ..., max_samples_per_batch: _Optional[int] = ..., spool_max_bytes: _Optional[int] = ..., spool_max_age_s: _Optional[float] = ..., enabled_families: _Optional[_Iterable[_Union[Family, str]]] = ...) -> None: ...

class ConfigResult(_message.Message):
    __slots__ = ("revision", "status", "detail", "intervals")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    status: ConfigStatus
    detail: str
    intervals: _containers.RepeatedCompositeFieldContainer[FamilyInterval]
    def __init__(self, revision: _Optional[int] = ..., status: _Optional[_Union[ConfigStatus, str]] = ..., detail: _Optional[str] = ..., intervals: _Optional[_Iterable[_Union[FamilyInterval, _Mapping]]] = ...) -> None: ...

class GetAuthorityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetAuthorityResponse(_message.Message):
    __slots__ = ("ca_certificate",)
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ca_certificate: bytes
    def __init__(self, ca_certificate: _Optional[bytes] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("token", "server_name", "machine_id", "agent_version", "hostname")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    token: str
    server_name: str
    machine_id: str
    agent_version: str
    hostname: str
    def __init__(self, token: _Optional[str] = ..., server_name: _Optional[str] = ..., machine_id: _Optional[str] = ..., agent_version: _Optional[str] = ..., hostname: _Optional[str] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("api_key", "server_name", "ca_certificate")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    server_name: str
    ca_certificate: bytes
    def __init__(self, api_key: _Optional[str] = ..., server_name: _Optional[str] = ..., ca_certificate: _Optional[bytes] = ...) -> None: ...
