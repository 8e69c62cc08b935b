import type { View } from "../../charts/chart";
import { column, combine, extent } from "../../charts/data";
import { usePage } from "../../context";
import { FamilyChart, lineFor, type Lines } from "./family_chart";
import { useHistory, useViewOf, type Source } from "./source";

// "Used" as the kernel's neighbours count it overlaps with the caches: the first band is what is
// left of the total beside them, so that the four make up the whole.
const STACK: Lines = ({ series: [part] }, t) => {
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
};
const PROGRAMS = 1; // all four together are the total, which tells nothing of the period before
const SWAP = lineFor(["memory.swap_used", "swap_used_bytes"], ["memory.swap_total", "swap_total_bytes"]);
const FAULTS = lineFor(
  ["memory.page_faults", "page_faults_per_s"],
  ["memory.major_faults", "major_page_faults_per_s"],
);
const TABLES = ["memory"];

export function MemorySection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const read = useHistory(source, "memory");
  const total = extent(column(read.now?.series[0], "total_bytes"))?.[1];
  const shared = { view, read };
  return (
    <section class="card family" aria-labelledby="memory">
      <h2 id="memory">{t("metric.memory")}</h2>
      <div class="charts">
        <FamilyChart
          {...shared}
          title="memory.usage"
          unit="bytes"
          top={total}
          lines={STACK}
          beforeUpTo={PROGRAMS}
          stacked
        />
        <FamilyChart {...shared} title="memory.swap" unit="bytes" lines={SWAP} />
        <FamilyChart {...shared} title="memory.faults" unit="per_s" lines={FAULTS} />
      </div>
    </section>
  );
}
