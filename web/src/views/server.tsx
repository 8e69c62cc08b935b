// One server: what it does, what it did, and why it is in trouble.
import { useMemo, useState } from "preact/hooks";
import type { View } from "../charts/chart";
import type { Period } from "../charts/plot";
import { usePage } from "../context";
import { useFleet } from "../fleet";
import { bytes } from "../format";
import { query, useAsked } from "../http";
import { RangePicker, useRange, type Query } from "../parts/range";
import { State } from "../parts/state";
import { go, href } from "../router";
import { named } from "../texts/texts";
import { causeText, labelsText, ruleText } from "../words";
import { CpuSection } from "./server/cpu";
import { DiskSection } from "./server/disk";
import { LabelsDialog } from "./server/labels_dialog";
import { LossSection } from "./server/loss";
import { MemorySection } from "./server/memory";
import { NetworkSection } from "./server/network";
import { ProcessSection } from "./server/processes";
import { iso, type Source } from "./server/source";

const POINTS_WIDE = 480;
const POINTS_NARROW = 240;
const OVERLAYS_EVERY_MS = 15_000;
const PERIOD_MIN_S = 60;
const YEAR_S = 31_536_000;

interface Facts {
  readonly server_id: string;
  readonly agent_version: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly last_seen: string | null;
  readonly clock_is_wrong: boolean;
  readonly facts: Readonly<Record<string, string | number>>;
}

interface Timeline {
  readonly alerts: readonly {
    readonly alert_id: number;
    readonly rule: string;
    readonly metric: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly severity: string | null;
    readonly from: string;
    readonly to: string | null;
  }[];
  readonly marks: readonly {
    readonly time: string;
    readonly kind: string;
    readonly detail: Readonly<Record<string, unknown>>;
  }[];
}

interface Props {
  readonly name: string;
  readonly query: Query;
}

export function ServerView({ name, query: asked }: Props) {
  const { t } = usePage();
  const range = useRange(asked);
  const { period } = range;
  const comparing = asked.get("compare") === "1";
  const path = `/api/v1/servers/${encodeURIComponent(name)}`;
  const known = useAsked<Facts>(path);
  const times = query({ from: iso(period.from), to: iso(period.to) });
  const timeline = useAsked<Timeline>(`${path}/timeline?${times}`, OVERLAYS_EVERY_MS);

  const show = (change: Record<string, string>) =>
    go(href(["server", name], { ...change, ...(comparing ? { compare: "1" } : {}) }));
  const zoom = ({ from, to }: Period) => {
    const middle = (from + to) / 2;
    const half = Math.max(PERIOD_MIN_S, to - from) / 2;
    show({ from: String(Math.floor(middle - half)), to: String(Math.ceil(middle + half)) });
  };
  const zoomOut = () => {
    const span = Math.min(YEAR_S, period.to - period.from);
    const to = Math.min(Date.now() / 1000, period.to + span / 2);
    show({ from: String(Math.floor(to - span * 2)), to: String(Math.ceil(to)) });
  };
  const move = (halves: number) => {
    const span = period.to - period.from;
    const to = Math.min(Date.now() / 1000, period.to + (halves * span) / 2);
    show({ from: String(Math.floor(to - span)), to: String(Math.ceil(to)) });
  };
  const compare = (on: boolean) => {
    const place =
      range.name === null
        ? { from: String(period.from), to: String(period.to) }
        : { range: range.name };
    go(href(["server", name], { ...place, ...(on ? { compare: "1" } : {}) }));
  };

  const view: View = useMemo(
    () => ({
      period,
      onZoom: zoom,
      onZoomOut: zoomOut,
      bands: (timeline.data?.alerts ?? []).map((band) => ({
        from: seconds(band.from),
        to: band.to === null ? null : seconds(band.to),
        severity: band.severity ?? "warning",
        metric: band.metric,
      })),
      marks: (timeline.data?.marks ?? []).map((mark) => ({
        time: seconds(mark.time),
        text: named(t, "event", mark.kind),
      })),
    }),
    [period, timeline.data, t],
  );
  const source: Source = useMemo(
    () => ({
      path,
      period,
      comparing,
      points: innerWidth < 760 ? POINTS_NARROW : POINTS_WIDE,
    }),
    [path, period, comparing],
  );

  if (known.error?.status === 404) return <p class="waiting">{t("server.unknown", { name })}</p>;
  return (
    <div class="server">
      <Head name={name} path={path} facts={known.data} onLabelled={known.again} />
      <div class="card bar controls">
        <RangePicker range={range} onChange={show} />
        <span class="moves">
          <button type="button" aria-label={t("range.earlier")} onClick={() => move(-1)}>
            ‹
          </button>
          <button type="button" onClick={zoomOut}>
            {t("range.zoom_out")}
          </button>
          <button
            type="button"
            aria-label={t("range.later")}
            disabled={range.name !== null}
            onClick={() => move(1)}
          >
            ›
          </button>
        </span>
        <label class="check">
          <input
            type="checkbox"
            checked={comparing}
            onChange={(event) => compare(event.currentTarget.checked)}
          />
          {t("range.compare")}
        </label>
        <span class="muted hint">{t("range.hint")}</span>
      </div>
      <Happened timeline={timeline.data} />
      <CpuSection view={view} source={source} />
      <MemorySection view={view} source={source} />
      <ProcessSection source={source} />
      <DiskSection view={view} source={source} />
      <NetworkSection view={view} source={source} />
      <LossSection path={path} period={period} />
    </div>
  );
}

function Happened({ timeline: given }: { readonly timeline: Timeline | undefined }) {
  const { t, f } = usePage();
  if (!given || given.alerts.length + given.marks.length === 0) return null;
  const lines = [
    ...given.alerts.map((band) => ({
      time: band.from,
      what: (
        <>
          <State state={band.severity ?? "warning"} />{" "}
          <a href={href(["alerts", String(band.alert_id)])}>
            {ruleText(t, band.rule)} {labelsText(band.labels)}
          </a>{" "}
          <span class="muted">
            {band.to === null
              ? t("server.goes_on")
              : f.duration(seconds(band.to) - seconds(band.from))}
          </span>
        </>
      ),
    })),
    ...given.marks.map((mark) => ({
      time: mark.time,
      what: (
        <>
          ▾ {named(t, "event", mark.kind)} <span class="muted">{detail(mark.detail)}</span>
        </>
      ),
    })),
  ].sort((a, b) => (a.time < b.time ? 1 : -1));
  return (
    <details class="card happened">
      <summary>
        {t("server.happened")} <span class="muted">{lines.length}</span>
      </summary>
      <ul>
        {lines.map((line, index) => (
          <li key={`${line.time}${index}`}>
            <time dateTime={line.time}>{f.dateTime(line.time)}</time>
            <span>{line.what}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}

function detail(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(", ");
}

interface HeadProps {
  readonly name: string;
  readonly path: string;
  readonly facts: Facts | undefined;
  readonly onLabelled: () => void;
}

function Head({ name, path, facts, onLabelled }: HeadProps) {
  const { t, f, session } = usePage();
  const [labelling, setLabelling] = useState(false);
  const { fleet } = useFleet();
  const server = fleet?.servers.find((each) => each.name === name);
  const known = facts?.facts ?? {};
  const boot = known["boot_time"];
  const shown: readonly (readonly [string, string])[] = [
    [t("facts.system"), [known["os_name"], known["os_version"]].filter(Boolean).join(" ")],
    [t("facts.kernel"), String(known["kernel_version"] ?? "")],
    [t("facts.cpu"), String(known["cpu_model"] ?? "")],
    [t("facts.cores"), String(known["cpu_cores_logical"] ?? "")],
    [
      t("facts.memory"),
      known["memory_total_bytes"] ? bytes(Number(known["memory_total_bytes"])) : "",
    ],
    [t("facts.up_since"), boot ? f.ago(String(boot)) : ""],
    [t("facts.agent"), facts?.agent_version ?? ""],
  ];
  return (
    <section class="server-head">
      <div class="line">
        <h1>{name}</h1>
        {server && <State state={server.state} />}
        {server?.cause && <span class="cause">{causeText(t, f, server.cause)}</span>}
        {facts?.clock_is_wrong && <span class="badge badge-on">{t("server.clock_is_wrong")}</span>}
        {Object.entries(facts?.labels ?? {}).map(([label, value]) => (
          <span class="badge" key={label}>
            {label}={value}
          </span>
        ))}
        {facts && session.is_admin && (
          <button type="button" class="quiet" onClick={() => setLabelling(true)}>
            {t("labels.edit")}
          </button>
        )}
        {facts && labelling && (
          <LabelsDialog
            path={path}
            labels={facts.labels}
            onClose={() => setLabelling(false)}
            onSaved={() => {
              setLabelling(false);
              onLabelled();
            }}
          />
        )}
      </div>
      <dl class="facts">
        {shown
          .filter(([, value]) => value)
          .map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </section>
  );
}

function seconds(moment: string): number {
  return new Date(moment).getTime() / 1000;
}
