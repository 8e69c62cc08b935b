import { useMemo } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import { column, type History, type Line } from "../../charts/data";
import { DiskGauge, type Disk } from "../../charts/gauge";
import { usePage } from "../../context";
import { useAsked } from "../../http";
import type { Key, Translate } from "../../texts/texts";
import { useHistory, useViewOf, type Source } from "./source";

const DISKS_EVERY_MS = 60_000;

interface Kind {
  readonly title: Key;
  readonly unit: string;
  readonly columns: readonly (readonly [Key | null, string])[];
}

const KINDS: readonly Kind[] = [
  {
    title: "disk.throughput",
    unit: "bytes_per_s",
    columns: [
      ["disk.read", "read_bytes_per_s"],
      ["disk.write", "write_bytes_per_s"],
    ],
  },
  {
    title: "disk.iops",
    unit: "per_s",
    columns: [
      ["disk.read", "reads_per_s"],
      ["disk.write", "writes_per_s"],
    ],
  },
  { title: "disk.await", unit: "ms", columns: [[null, "await_ms"]] },
  { title: "disk.queue", unit: "1", columns: [[null, "queue_length"]] },
];

export function perThing(
  history: History,
  label: string,
  columns: Kind["columns"],
  t: Translate,
): Line[] {
  return history.series.flatMap((part) =>
    columns.map(([key, name]) => ({
      label: [part.labels[label], key && t(key)].filter(Boolean).join(" "),
      values: column(part, name),
    })),
  );
}

const SPACE = ["disk_usage"];
const TRAFFIC = ["disk_io"];

export function DiskSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const spaceView = useViewOf(whole, SPACE);
  const view = useViewOf(whole, TRAFFIC);
  const { t } = usePage();
  const disks = useAsked<{ disks: readonly Disk[] }>(`${source.path}/disks`, DISKS_EVERY_MS);
  const io = useHistory(source, "disk_io");
  const usage = useHistory(source, "disk_usage", { compare: false }).now;
  const shown = useMemo(
    () =>
      KINDS.map((kind) => ({
        kind,
        lines: perThing(io.now, "device", kind.columns, t),
        before: io.before && {
          times: io.before.times,
          lines: perThing(io.before, "device", kind.columns, t),
        },
      })),
    [io.now, io.before, t],
  );
  const used = useMemo(() => perThing(usage, "mount", [[null, "used_percent"]], t), [usage, t]);
  return (
    <section class="card family" aria-labelledby="disks">
      <h2 id="disks">{t("disk.title")}</h2>
      <ul class="gauges">
        {(disks.data?.disks ?? []).map((disk) => (
          <DiskGauge key={disk.mount} disk={disk} />
        ))}
      </ul>
      <div class="charts">
        <Chart
          title={t("disk.usage")}
          unit="percent"
          top={100}
          view={spaceView}
          times={usage.times}
          lines={used}
        />
        {shown.map(({ kind, lines, before }) => (
          <Chart
            key={kind.title}
            title={t(kind.title)}
            unit={kind.unit}
            view={view}
            times={io.now.times}
            lines={lines}
            before={before}
          />
        ))}
      </div>
    </section>
  );
}
