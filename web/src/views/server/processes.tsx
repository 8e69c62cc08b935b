// The ten processes that use most, now or over the range that the charts show.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { bytes, percent } from "../../format";
import { query, useAsked } from "../../http";
import { iso, type Source } from "./source";

interface Process {
  readonly pid: number | null;
  readonly name: string | null;
  readonly username: string | null;
  readonly cmdline: string | null;
  readonly cpu_percent: number | null;
  readonly memory_rss_bytes: number | null;
  readonly memory_percent: number | null;
}

const RECENT_S = 90; // a range that ends so lately shows what runs now

export function ProcessSection({ source }: { readonly source: Source }) {
  const { t } = usePage();
  return (
    <section class="card family" aria-labelledby="processes">
      <h2 id="processes">{t("process.title")}</h2>
      <div class="pair-of-tables">
        <Processes source={source} by="cpu" />
        <Processes source={source} by="memory" />
      </div>
    </section>
  );
}

function Processes({ source, by }: { readonly source: Source; readonly by: "cpu" | "memory" }) {
  const { t } = usePage();
  const { from, to } = source.period;
  const [over, setOver] = useState(false);
  const recent = Date.now() / 1000 - to < RECENT_S;
  const when = over
    ? { from: iso(from), to: iso(to) }
    : recent
      ? {}
      : { at: iso(to) };
  const asked = useAsked<{ processes: readonly Process[] }>(
    `${source.path}/processes?${query({ by, ...when })}`,
  );
  const found = asked.data?.processes;
  const title = t(by === "cpu" ? "process.by_cpu" : "process.by_memory");
  return (
    <section class="processes" aria-label={title}>
      <div class="figure-head">
        <h3>{title}</h3>
        <label>
          <span class="hidden">{t("process.when")}</span>
          <select
            value={over ? "range" : "end"}
            onChange={(event) => setOver(event.currentTarget.value === "range")}
          >
            <option value="end">{t(recent ? "process.now" : "process.at_end")}</option>
            <option value="range">{t("process.over_range")}</option>
          </select>
        </label>
      </div>
      {found?.length === 0 && <p class="nothing-here">{t("chart.none")}</p>}
      {found && found.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={title}>
          <table class="small">
            <thead>
              <tr>
                <th scope="col">{t("process.name")}</th>
                <th scope="col">{t("process.user")}</th>
                <th scope="col" class="number">{t("process.cpu")}</th>
                <th scope="col" class="number">{t("metric.memory")}</th>
              </tr>
            </thead>
            <tbody>
              {found.map((each, index) => (
                <tr key={`${each.pid ?? ""}${each.name ?? ""}${index}`}>
                  <td title={each.cmdline ?? ""}>
                    {each.name ?? "?"} {each.pid !== null && <span class="muted">{each.pid}</span>}
                  </td>
                  <td>{each.username ?? ""}</td>
                  <td class="number">{percent(each.cpu_percent)}</td>
                  <td class="number">{bytes(each.memory_rss_bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
