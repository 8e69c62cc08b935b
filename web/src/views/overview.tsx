// The fleet at a glance.
import { useMemo, useRef, useState } from "preact/hooks";
import { Sparkline } from "../charts/sparkline";
import { usePage } from "../context";
import { useFleet, type Fleet, type Server, type State as ServerState } from "../fleet";
import { percent, rate } from "../format";
import { RecentAlerts } from "../parts/recent_alerts";
import { compare, SortHead, type Order } from "../parts/sorting";
import { State } from "../parts/state";
import { useMedia, useVisible } from "../parts/virtual";
import { href } from "../router";
import { causeText, stateText } from "../words";

type Column = "state" | "name" | "cpu" | "memory" | "disk" | "network";

const ROW_PX = 44;
const CARD_PX = 92;
const NARROW = "(max-width: 760px)";
const STATES: readonly ServerState[] = ["critical", "warning", "offline", "ok"];
const VALUES: Readonly<Record<Column, (server: Server) => number | string | null>> = {
  state: (server) => STATES.indexOf(server.state),
  name: (server) => server.name,
  cpu: (server) => server.cpu,
  memory: (server) => server.memory,
  disk: (server) => server.disk,
  network: (server) => (server.rx === null ? null : server.rx + (server.tx ?? 0)),
};

export function OverviewView() {
  const { t } = usePage();
  const { fleet } = useFleet();
  if (!fleet) return <p class="waiting">{t("waiting")}</p>;
  return (
    <div class="overview">
      <h1 class="hidden">{t("nav.overview")}</h1>
      <Tiles fleet={fleet} />
      <div class="columns">
        {fleet.servers.length === 0 ? <Empty /> : <Servers fleet={fleet} />}
        <RecentAlerts fleet={fleet} />
      </div>
    </div>
  );
}

function Empty() {
  const { t } = usePage();
  return (
    <section class="card empty">
      <h2>{t("overview.empty")}</h2>
      <p>{t("overview.empty_explained")}</p>
      <pre>hostpulse key create --role agent --server NAME</pre>
    </section>
  );
}

function Tiles({ fleet }: { readonly fleet: Fleet }) {
  const { t } = usePage();
  const { summary } = fleet;
  const tiles = [
    [t("overview.average_cpu"), percent(summary.cpu)],
    [t("overview.average_memory"), percent(summary.memory)],
    [t("overview.average_disk"), percent(summary.disk)],
    [t("overview.average_network"), `↓ ${rate(summary.rx)}  ↑ ${rate(summary.tx)}`],
  ] as const;
  return (
    <dl class="tiles" aria-label={t("overview.fleet")}>
      {tiles.map(([name, value]) => (
        <div class="tile" key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Servers({ fleet }: { readonly fleet: Fleet }) {
  const { t } = usePage();
  const [order, setOrder] = useState<Order<Column>>({ column: "state", down: false });
  const [search, setSearch] = useState("");
  const [label, setLabel] = useState("");
  const [state, setState] = useState<ServerState | "">("");
  const narrow = useMedia(NARROW);
  const body = useRef<HTMLTableSectionElement>(null);
  const labels = useMemo(() => labelsOf(fleet.servers), [fleet.servers]);
  const shown = useMemo(
    () => arrange(fleet.servers, { order, search, label, state }),
    [fleet.servers, order, search, label, state],
  );
  const height = narrow ? CARD_PX : ROW_PX;
  const { first, last } = useVisible(body, shown.length, height);
  const head = { order, onSort: setOrder };
  return (
    <section class="card servers" aria-labelledby="servers">
      <div class="bar">
        <h2 id="servers">
          {t("overview.servers")} <span class="muted">{fleet.servers.length}</span>
        </h2>
        <div class="states" role="group" aria-label={t("overview.by_state")}>
          {STATES.map((each) => (
            <button
              type="button"
              key={each}
              class={`chip state-${each}`}
              aria-pressed={state === each}
              onClick={() => setState(state === each ? "" : each)}
            >
              {stateText(t, each)} <b>{fleet.summary.states[each]}</b>
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
        {labels.length > 0 && (
          <select
            aria-label={t("overview.by_label")}
            value={label}
            onChange={(event) => setLabel(event.currentTarget.value)}
          >
            <option value="">{t("overview.all_labels")}</option>
            {labels.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        )}
      </div>
      <table class="list" role="table" aria-rowcount={shown.length + 1}>
        <thead role="rowgroup">
          <tr role="row" aria-rowindex={1}>
            <SortHead column="state" class="state-column" {...head}>{t("overview.state")}</SortHead>
            <SortHead column="name" {...head}>{t("overview.server")}</SortHead>
            <SortHead column="cpu" startsDown {...head}>{t("metric.cpu")}</SortHead>
            <SortHead column="memory" startsDown {...head}>{t("metric.memory")}</SortHead>
            <SortHead column="disk" startsDown {...head}>{t("metric.disk")}</SortHead>
            <SortHead column="network" startsDown {...head}>{t("metric.network")}</SortHead>
          </tr>
        </thead>
        <tbody role="rowgroup" ref={body}>
          {first > 0 && <tr aria-hidden="true" style={{ height: `${first * height}px` }} />}
          {shown.slice(first, last).map((server, index) => (
            <Row
              key={server.name}
              server={server}
              number={first + index + 2}
              fleet={fleet}
              height={height}
            />
          ))}
          {last < shown.length && (
            <tr aria-hidden="true" style={{ height: `${(shown.length - last) * height}px` }} />
          )}
        </tbody>
      </table>
      {shown.length === 0 && <p class="none">{t("overview.none")}</p>}
    </section>
  );
}

interface RowProps {
  readonly server: Server;
  readonly number: number;
  readonly fleet: Fleet;
  readonly height: number;
}

function Row({ server, number, fleet, height }: RowProps) {
  const { t, f } = usePage();
  const lines = fleet.sparklines.get(server.name);
  const cause = server.cause ? causeText(t, f, server.cause) : "";
  return (
    <tr role="row" aria-rowindex={number} class={`row-${server.state}`} style={{ height: `${height}px` }}>
      <td role="cell" class="state-column">
        <State state={server.state} />
      </td>
      <td role="cell" class="name">
        <a href={href(["server", server.name])} title={server.name}>
          {server.name}
        </a>
        {cause && (
          <span class="cause" title={cause}>
            {cause}
          </span>
        )}
      </td>
      <td role="cell" class="value" data-name={t("metric.cpu")}>
        <Sparkline values={lines?.cpu} />
        <span>{percent(server.cpu, 0)}</span>
      </td>
      <td role="cell" class="value" data-name={t("metric.memory")}>
        <Sparkline values={lines?.memory} />
        <span>{percent(server.memory, 0)}</span>
      </td>
      <td role="cell" class="value" data-name={t("metric.disk")} title={server.mount ?? ""}>
        <span class="meter" aria-hidden="true">
          <i style={{ width: `${Math.min(100, server.disk ?? 0)}%` }} />
        </span>
        <span>{percent(server.disk, 0)}</span>
      </td>
      <td role="cell" class="value wide" data-name={t("metric.network")}>
        <span>↓ {rate(server.rx)}</span>
        <span>↑ {rate(server.tx)}</span>
      </td>
    </tr>
  );
}

function labelsOf(servers: readonly Server[]): string[] {
  const found = new Set<string>();
  for (const server of servers) {
    for (const [name, value] of Object.entries(server.labels)) found.add(`${name}=${value}`);
  }
  return [...found].sort();
}

interface Wanted {
  readonly order: Order<Column>;
  readonly search: string;
  readonly label: string;
  readonly state: ServerState | "";
}

function arrange(servers: readonly Server[], { order, search, label, state }: Wanted): Server[] {
  const text = search.trim().toLowerCase();
  const [labelName = "", ...rest] = label.split("=");
  const value = VALUES[order.column];
  return servers
    .filter(
      (server) =>
        (state === "" || server.state === state) &&
        (label === "" || server.labels[labelName] === rest.join("=")) &&
        (text === "" || server.name.toLowerCase().includes(text)),
    )
    .sort(
      (a, b) => compare(value(a), value(b), order.down) || compare(a.name, b.name, false),
    );
}
