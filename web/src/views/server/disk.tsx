import type { View } from "../../charts/chart";
import { DiskGauge, type Disk } from "../../charts/gauge";
import { usePage } from "../../context";
import { useAsked } from "../../http";
import { FamilyChart, lineForEach } from "./family_chart";
import { useHistory, useViewOf, type Source } from "./source";

const DISKS_EVERY_MS = 60_000;

const USED = lineForEach("mount", [null, "used_percent"]);
const KINDS = [
  {
    title: "disk.throughput",
    unit: "bytes_per_s",
    lines: lineForEach(
      "device",
      ["disk.read", "read_bytes_per_s"],
      ["disk.write", "write_bytes_per_s"],
    ),
  },
  {
    title: "disk.iops",
    unit: "per_s",
    lines: lineForEach("device", ["disk.read", "reads_per_s"], ["disk.write", "writes_per_s"]),
  },
  { title: "disk.await", unit: "ms", lines: lineForEach("device", [null, "await_ms"]) },
  { title: "disk.queue", unit: "1", lines: lineForEach("device", [null, "queue_length"]) },
] as const;
const SPACE = ["disk_usage"];
const TRAFFIC = ["disk_io"];

export function DiskSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const spaceView = useViewOf(whole, SPACE);
  const view = useViewOf(whole, TRAFFIC);
  const { t } = usePage();
  const disks = useAsked<{ disks: readonly Disk[] }>(`${source.path}/disks`, DISKS_EVERY_MS);
  const io = useHistory(source, "disk_io");
  const usage = useHistory(source, "disk_usage");
  return (
    <section class="card family" aria-labelledby="disks">
      <h2 id="disks">{t("disk.title")}</h2>
      <ul class="gauges">
        {(disks.data?.disks ?? []).map((disk) => (
          <DiskGauge key={disk.mount} disk={disk} />
        ))}
      </ul>
      <div class="charts">
        <FamilyChart
          title="disk.usage"
          unit="percent"
          top={100}
          view={spaceView}
          read={usage}
          lines={USED}
        />
        {KINDS.map((kind) => (
          <FamilyChart key={kind.title} {...kind} view={view} read={io} />
        ))}
      </div>
    </section>
  );
}
