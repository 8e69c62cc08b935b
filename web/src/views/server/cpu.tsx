import { useMemo } from "preact/hooks";
import type { View } from "../../charts/chart";
import { column } from "../../charts/data";
import { HeatMap } from "../../charts/heatmap";
import { usePage } from "../../context";
import { FamilyChart, lineFor, type Lines } from "./family_chart";
import { useHistory, useViewOf, type Source } from "./source";

// The first is at the bottom of the stack.
const STACK = lineFor(
  ["cpu.user", "user_percent", "#3b82c4"],
  ["cpu.nice", "nice_percent", "#8a63c9"],
  ["cpu.system", "system_percent", "#d97f27"],
  ["cpu.iowait", "iowait_percent", "#c8524f"],
  ["cpu.irq", "irq_percent", "#8c6d4f"],
  ["cpu.softirq", "softirq_percent", "#b59a1f"],
  ["cpu.steal", "steal_percent", "#7a8794"],
);
const LOAD: Lines = (history, t) =>
  [1, 5, 15].map((n) => ({
    label: t("duration.minutes", { n }),
    values: column(history.series[0], `load${n}`),
  }));
const PRESSURE = lineFor(
  ["pressure.cpu_some", "cpu_some_avg10"],
  ["pressure.memory_some", "memory_some_avg10"],
  ["pressure.memory_full", "memory_full_avg10"],
  ["pressure.io_some", "io_some_avg10"],
  ["pressure.io_full", "io_full_avg10"],
);
const TABLES = ["cpu", "pressure"];

export function CpuSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const cpu = useHistory(source, "cpu");
  const cores = useHistory(source, "cores", { compare: false }).now;
  const pressure = useHistory(source, "pressure");
  const coreLines = useMemo(
    () =>
      (cores?.series ?? []).map((part) => ({
        label: t("cpu.core", { n: part.labels["core"] ?? "" }),
        values: column(part, "usage_percent"),
      })),
    [cores, t],
  );
  return (
    <section class="card family" aria-labelledby="cpu">
      <h2 id="cpu">{t("metric.cpu")}</h2>
      <div class="charts">
        <FamilyChart title="cpu.usage" unit="percent" top={100} view={view} read={cpu} lines={STACK} stacked />
        <FamilyChart title="cpu.load" unit="1" view={view} read={cpu} lines={LOAD} />
        <HeatMap title={t("cpu.cores")} view={view} times={cores?.times} lines={coreLines} />
        {pressure.now?.series.length !== 0 && (
          <FamilyChart title="pressure.title" unit="percent" view={view} read={pressure} lines={PRESSURE} />
        )}
      </div>
    </section>
  );
}
