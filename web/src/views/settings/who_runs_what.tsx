// Who runs what: every server with the revision it is to run, the one it runs, and what it said.
import { useMemo, useRef, useState } from "preact/hooks";
import { usePage } from "../../context";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { Dialog } from "../../parts/dialog";
import { compare, SortHead, type Order } from "../../parts/sorting";
import { useVisible } from "../../parts/virtual";
import { named } from "../../texts/texts";
import { text } from "./config";

interface OfServer {
  readonly server_id: string;
  readonly revision: number;
  readonly fields: Readonly<
    Record<string, { readonly value: unknown; readonly scope: string; readonly revision: number }>
  >;
  readonly agent: {
    readonly revision: number;
    readonly status: string;
    readonly detail: string | null;
    readonly time: string | null;
  };
}

type Column = "name" | "wanted" | "runs" | "status";

const EVERY_MS = 5000;
const ROW_PX = 36;
const STATUSES = ["rejected", "pending", "applied", "none"]; // what needs somebody first
const VALUES: Readonly<Record<Column, (of: OfServer) => string | number>> = {
  name: (of) => of.server_id,
  wanted: (of) => of.revision,
  runs: (of) => of.agent.revision,
  status: (of) => STATUSES.indexOf(of.agent.status),
};

export function WhoRunsWhat() {
  const { t } = usePage();
  const [order, setOrder] = useState<Order<Column>>({ column: "status", down: false });
  const [search, setSearch] = useState("");
  const [status, setStatus] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const asked = useAsked<{ servers: readonly OfServer[] }>("/api/v1/config/servers", EVERY_MS);
  const all = asked.data?.servers ?? [];
  const one = all.find((each) => each.server_id === chosen);
  return (
    <>
      <div class="bar">
        <h2 id="who">{t("config.who")}</h2>
        <div class="states" role="group" aria-label={t("overview.by_state")}>
          {STATUSES.map((each) => (
            <button
              type="button"
              key={each}
              class="chip"
              aria-pressed={status === each}
              onClick={() => setStatus(status === each ? "" : each)}
            >
              {named(t, "config_status", each)}{" "}
              <b>{all.filter((of) => of.agent.status === each).length}</b>
            </button>
          ))}
        </div>
        <input
          type="search"
          aria-label={t("overview.search")}
          placeholder={t("overview.search")}
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      </div>
      <Answer asked={asked}>
        {() => (
          <Servers
            servers={all.filter(
              (of) =>
                (status === "" || of.agent.status === status) &&
                of.server_id.toLowerCase().includes(search.trim().toLowerCase()),
            )}
            order={order}
            onSort={setOrder}
            onChoose={setChosen}
          />
        )}
      </Answer>
      {one && (
        <Dialog title={one.server_id} onClose={() => setChosen(null)}>
          <p>
            {t("config.wanted_revision", { n: one.revision })} ·{" "}
            {t("config.runs_revision", { n: one.agent.revision })} ·{" "}
            <b>{named(t, "config_status", one.agent.status)}</b> {one.agent.detail ?? ""}
          </p>
          <ul class="plain">
            {Object.entries(one.fields).map(([field, { value, scope }]) => (
              <li key={field}>
                <code>
                  {field} = {text(value)}
                </code>{" "}
                <span class="muted">{scope}</span>
              </li>
            ))}
          </ul>
        </Dialog>
      )}
    </>
  );
}

interface Props {
  readonly servers: readonly OfServer[];
  readonly order: Order<Column>;
  readonly onSort: (order: Order<Column>) => void;
  readonly onChoose: (name: string) => void;
}

function Servers({ servers, order, onSort, onChoose }: Props) {
  const { t, f } = usePage();
  const body = useRef<HTMLTableSectionElement>(null);
  const sorted = useMemo(() => {
    const value = VALUES[order.column];
    return [...servers].sort(
      (a, b) =>
        compare(value(a), value(b), order.down) || compare(a.server_id, b.server_id, false),
    );
  }, [servers, order]);
  const { first, last } = useVisible(body, sorted.length, ROW_PX);
  const head = { order, onSort };
  if (sorted.length === 0) return <p class="none">{t("overview.none")}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby="who">
      <table class="even" aria-rowcount={sorted.length + 1}>
        <thead>
          <tr>
            <SortHead column="name" {...head}>{t("overview.server")}</SortHead>
            <SortHead column="status" {...head}>{t("overview.state")}</SortHead>
            <SortHead column="wanted" class="number" {...head}>{t("config.wanted")}</SortHead>
            <SortHead column="runs" class="number" {...head}>{t("config.runs")}</SortHead>
            <th scope="col">{t("config.answered")}</th>
          </tr>
        </thead>
        <tbody ref={body}>
          {first > 0 && <tr aria-hidden="true" style={{ height: `${first * ROW_PX}px` }} />}
          {sorted.slice(first, last).map(({ server_id, revision, agent }) => (
            <tr key={server_id}>
              <td>
                <button
                  type="button"
                  class="as-link"
                  title={server_id}
                  onClick={() => onChoose(server_id)}
                >
                  {server_id}
                </button>
              </td>
              <td class={agent.status === "rejected" ? "soon" : ""}>
                {named(t, "config_status", agent.status)}
              </td>
              <td class="number">{revision || t("config.own")}</td>
              <td class="number">{agent.revision || t("config.own")}</td>
              <td class="muted">
                {agent.time && f.ago(agent.time)} {agent.detail ?? ""}
              </td>
            </tr>
          ))}
          {last < sorted.length && (
            <tr aria-hidden="true" style={{ height: `${(sorted.length - last) * ROW_PX}px` }} />
          )}
        </tbody>
      </table>
    </div>
  );
}
