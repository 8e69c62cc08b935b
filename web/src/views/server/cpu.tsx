import { useMemo } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import { column, type History, type Line } from "../../charts/data";
import { HeatMap } from "../../charts/heatmap";
import { usePage } from "../../context";
import type { Translate } from "../../texts/texts";
import { Processes } from "./processes";
import { useHistory, useViewOf, type Source } from "./source";

// The first is at the bottom of the stack.
const STACK = [
  ["cpu.user", "user_percent", "#3b82c4"],
  ["cpu.nice", "nice_percent", "#8a63c9"],
  ["cpu.system", "system_percent", "#d97f27"],
  ["cpu.iowait", "iowait_percent", "#c8524f"],
  ["cpu.irq", "irq_percent", "#8c6d4f"],
  ["cpu.softirq", "softirq_percent", "#b59a1f"],
  ["cpu.steal", "steal_percent", "#7a8794"],
] as const;

function stackOf(history: History, t: Translate): Line[] {
  return STACK.map(([key, name, colour]) => ({
    label: t(key),
    values: column(history.series[0], name),
    colour,
  }));
}

function loadOf(history: History, t: Translate): Line[] {
  return (["1", "5", "15"] as const).map((minutes) => ({
    label: t("duration.minutes", { n: minutes }),
    values: column(history.series[0], `load${minutes}`),
  }));
}

const TABLES = ["cpu", "pressure"];

export function CpuSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const cpu = useHistory(source, "cpu");
  const cores = useHistory(source, "cores", { compare: false }).now;
  const pressure = useHistory(source, "pressure", { compare: false }).now;
  const shown = useMemo(() => {
    const before = cpu.before;
    return {
      stack: stackOf(cpu.now, t),
      stackBefore: before && { times: before.times, lines: stackOf(before, t) },
      load: loadOf(cpu.now, t),
      loadBefore: before && { times: before.times, lines: loadOf(before, t) },
    };
  }, [cpu.now, cpu.before, t]);
  const coreLines = useMemo(
    () =>
      cores.series.map((part) => ({
        label: t("cpu.core", { n: part.labels["core"] ?? "" }),
        values: column(part, "usage_percent"),
      })),
    [cores, t],
  );
  const pressures = useMemo(
    () =>
      (["cpu_some", "memory_some", "memory_full", "io_some", "io_full"] as const).map((name) => ({
        label: t(`pressure.${name}`),
        values: column(pressure.series[0], `${name}_avg10`),
      })),
    [pressure, t],
  );
  return (
    <section class="card family" aria-labelledby="cpu">
      <h2 id="cpu">{t("metric.cpu")}</h2>
      <div class="charts">
        <Chart
          title={t("cpu.usage")}
          unit="percent"
          top={100}
          view={view}
          times={cpu.now.times}
          lines={shown.stack}
          before={shown.stackBefore}
          stacked
        />
        <Chart
          title={t("cpu.load")}
          unit="1"
          view={view}
          times={cpu.now.times}
          lines={shown.load}
          before={shown.loadBefore}
        />
        <HeatMap title={t("cpu.cores")} view={view} times={cores.times} lines={coreLines} />
        <Processes source={source} by="cpu" />
        {pressure.series.length > 0 && (
          <Chart
            title={t("pressure.title")}
            unit="percent"
            view={view}
            times={pressure.times}
            lines={pressures}
          />
        )}
      </div>
    </section>
  );
}
