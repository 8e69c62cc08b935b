// Where the charts of a server come from: one question for each family, one more to compare.
import { useMemo } from "preact/hooks";
import type { View } from "../../charts/chart";
import { bandsOf, type History } from "../../charts/data";
import type { Period } from "../../charts/plot";
import { query, useAsked } from "../../http";

export interface Source {
  readonly path: string; // of the server in the API
  readonly period: Period;
  readonly points: number;
  readonly comparing: boolean;
}

export function iso(seconds: number): string {
  return new Date(Math.floor(seconds) * 1000).toISOString();
}

// What is drawn of each family; cores are one column.
export const COLUMNS = {
  cpu: [
    ...["user_percent", "nice_percent", "system_percent", "iowait_percent", "irq_percent"],
    ...["softirq_percent", "steal_percent", "load1", "load5", "load15"],
  ],
  cores: null,
  memory: [
    ...["total_bytes", "free_bytes", "buffers_bytes", "cached_bytes", "swap_total_bytes"],
    ...["swap_used_bytes", "page_faults_per_s", "major_page_faults_per_s"],
  ],
  disk_usage: ["used_percent"],
  disk_io: [
    ...["read_bytes_per_s", "write_bytes_per_s", "reads_per_s", "writes_per_s", "await_ms"],
    "queue_length",
  ],
  network: [
    ...["rx_bytes_per_s", "tx_bytes_per_s", "packet_loss_percent", "rx_errors_per_s"],
    ...["tx_errors_per_s", "rx_drops_per_s", "tx_drops_per_s"],
  ],
  tcp: [
    ...["established", "time_wait", "close_wait", "listen", "syn_sent", "syn_recv", "fin_wait1"],
    ...["fin_wait2", "last_ack", "closing"],
  ],
  pressure: null,
} as const;
export type Family = keyof typeof COLUMNS;

function url({ path, points }: Source, family: Family, period: Period): string {
  const columns = COLUMNS[family]?.join(",");
  const values = { family, from: iso(period.from), to: iso(period.to), points };
  return `${path}/history?${query({ ...values, ...(columns && { columns }) })}`;
}

export interface Read {
  readonly now: History | undefined; // undefined: not there yet
  readonly before: History | undefined;
}

export function useHistory(source: Source, family: Family, { compare = true } = {}): Read {
  const { from, to } = source.period;
  const earlier = { from: from - (to - from), to: from };
  const comparing = source.comparing && compare;
  const now = useAsked<History>(url(source, family, source.period));
  const before = useAsked<History>(comparing ? url(source, family, earlier) : null);
  return { now: now.data, before: comparing ? before.data : undefined };
}

// The same view with the alerts of these tables only.
export function useViewOf(view: View, tables: readonly string[]): View {
  return useMemo(() => ({ ...view, bands: bandsOf(view.bands, tables) }), [view, tables]);
}
