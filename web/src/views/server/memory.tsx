import { useMemo } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import { column, combine, extent, type History, type Line } from "../../charts/data";
import { usePage } from "../../context";
import type { Translate } from "../../texts/texts";
import { Processes } from "./processes";
import { useHistory, useViewOf, type Source } from "./source";

// "Used" as the kernel's neighbours count it overlaps with the caches: the first band is what is
// left of the total beside them, so that the four make up the whole.
function stackOf(history: History, t: Translate): Line[] {
  const part = history.series[0];
  const [total, free, buffers, cached] = (
    ["total_bytes", "free_bytes", "buffers_bytes", "cached_bytes"] as const
  ).map((name) => column(part, name));
  const programs = combine(
    [total ?? [], free ?? [], buffers ?? [], cached ?? []],
    ([all = 0, unused = 0, buffered = 0, kept = 0]) => Math.max(0, all - unused - buffered - kept),
  );
  return [
    { label: t("memory.programs"), values: programs, colour: "#3b82c4" },
    { label: t("memory.buffers"), values: buffers ?? [], colour: "#8a63c9" },
    { label: t("memory.cached"), values: cached ?? [], colour: "#3f9e6b" },
    { label: t("memory.free"), values: free ?? [], colour: "#aab4bd" },
  ];
}

function linesOf(history: History, names: readonly (readonly [string, string])[]): Line[] {
  return names.map(([label, name]) => ({ label, values: column(history.series[0], name) }));
}

const TABLES = ["memory"];

export function MemorySection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const memory = useHistory(source, "memory");
  const shown = useMemo(() => {
    const make = (history: History) => ({
      stack: stackOf(history, t),
      swap: linesOf(history, [
        [t("memory.swap_used"), "swap_used_bytes"],
        [t("memory.swap_total"), "swap_total_bytes"],
      ]),
      faults: linesOf(history, [
        [t("memory.page_faults"), "page_faults_per_s"],
        [t("memory.major_faults"), "major_page_faults_per_s"],
      ]),
    });
    return { now: make(memory.now), before: memory.before && make(memory.before) };
  }, [memory.now, memory.before, t]);
  const before = (lines: Line[] | undefined) =>
    lines && memory.before && { times: memory.before.times, lines };
  const total = extent(column(memory.now.series[0], "total_bytes"))?.[1];
  return (
    <section class="card family" aria-labelledby="memory">
      <h2 id="memory">{t("metric.memory")}</h2>
      <div class="charts">
        <Chart
          title={t("memory.usage")}
          unit="bytes"
          top={total}
          view={view}
          times={memory.now.times}
          lines={shown.now.stack}
          stacked
        />
        <Processes source={source} by="memory" />
        <Chart
          title={t("memory.swap")}
          unit="bytes"
          view={view}
          times={memory.now.times}
          lines={shown.now.swap}
          before={before(shown.before?.swap)}
        />
        <Chart
          title={t("memory.faults")}
          unit="per_s"
          view={view}
          times={memory.now.times}
          lines={shown.now.faults}
          before={before(shown.before?.faults)}
        />
      </div>
    </section>
  );
}
