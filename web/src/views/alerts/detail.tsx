// Why an alert fired: the rule in words, what it looked at, what is to blame, who was told.
import { useMemo, useState } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import type { Period } from "../../charts/plot";
import { usePage } from "../../context";
import type { Alert } from "../../fleet";
import { amount, unitOf } from "../../format";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { State } from "../../parts/state";
import { go, href } from "../../router";
import { named } from "../../texts/texts";
import { labelsText, ruleText } from "../../words";
import { acknowledge } from "./acting";
import { Changes, type Change } from "./history";
import { SilenceDialog } from "./silence_dialog";

type Sample = readonly [string, number];

interface Explained extends Alert {
  readonly unit: string | null;
  readonly run_started_at: string | null;
  readonly rule_now: {
    readonly levels: readonly { severity: string; threshold: number; says: string }[];
    readonly recovery: number | null;
    readonly no_data: string;
    readonly annotations: Readonly<Record<string, string>>;
  } | null;
  readonly window: { readonly from: string; readonly to: string; readonly interval_s: number } | null;
  readonly values: readonly Sample[];
  readonly course: readonly Sample[];
  readonly evidence: readonly string[];
  readonly history: readonly Change[];
  readonly deliveries: readonly {
    readonly created_at: string;
    readonly channel: string;
    readonly kind: string;
    readonly state: string;
    readonly attempts: number;
    readonly last_error: string | null;
  }[];
}

const EVERY_MS = 10_000;

export function AlertDetail({ id }: { readonly id: string }) {
  const asked = useAsked<Explained>(`/api/v1/alerts/${id}`, EVERY_MS);
  return (
    <Answer asked={asked}>{(alert) => <Explanation alert={alert} again={asked.again} />}</Answer>
  );
}

interface Props {
  readonly alert: Explained;
  readonly again: () => void;
}

function Explanation({ alert, again }: Props) {
  const page = usePage();
  const { t, f, session } = page;
  const [silencing, setSilencing] = useState(false);
  const unit = alert.unit ?? unitOf(alert.metric);
  const state = alert.state === "firing" ? (alert.severity ?? "warning") : alert.state;
  const levels = alert.rule_now?.levels ?? [];
  return (
    <div class="stacked">
      <section class="card" aria-labelledby="alert">
        <div class="bar">
          <h1 id="alert">
            {alert.server_id ?? t("alerts.no_server")}: {ruleText(t, alert.rule)}{" "}
            {labelsText(alert.labels)}
          </h1>
          <State state={state} />
          {session.is_admin && alert.state === "firing" && alert.acknowledged_at === null && (
            <button
              type="button"
              class="main"
              onClick={() => void acknowledge(page, alert.id, again)}
            >
              {t("alerts.acknowledge")}
            </button>
          )}
          {session.is_admin && (
            <button type="button" onClick={() => setSilencing(true)}>
              {t("silences.silence")}
            </button>
          )}
        </div>
        <dl class="facts inset">
          <Fact name={t("alerts.value")} value={amount(alert.value, unit)} />
          <Fact name={t("alerts.rule_says")} value={levels.map((each) => each.says).join("; ")} />
          <Fact name={t("alerts.run_since")} value={f.dateTime(alert.run_started_at)} />
          <Fact name={t("alerts.fired")} value={f.dateTime(alert.fired_at)} />
          {alert.resolved_at && (
            <Fact name={t("state.resolved")} value={f.dateTime(alert.resolved_at)} />
          )}
          {alert.cause && <Fact name={t("alerts.cause")} value={alert.cause} />}
          {alert.acknowledged_at && (
            <Fact
              name={t("alerts.acknowledged")}
              value={`${alert.acknowledged_by} · ${f.dateTime(alert.acknowledged_at)}`}
            />
          )}
          {Object.entries(alert.rule_now?.annotations ?? {}).map(([name, value]) => (
            <Fact key={name} name={name} value={String(value)} />
          ))}
        </dl>
        <p class="inset">
          {alert.server_id && alert.fired_at && (
            <a href={aroundHref(alert.server_id, alert.fired_at)}>{t("alerts.show_server")}</a>
          )}{" "}
          <a href={href(["rules", alert.rule])}>{t("alerts.show_rule")}</a>
        </p>
        <Course alert={alert} unit={unit} />
        {alert.evidence.length > 0 && (
          <div class="inset">
            <h2>{t("alerts.evidence")}</h2>
            <ul class="evidence">
              {alert.evidence.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          </div>
        )}
      </section>
      <section class="card" aria-labelledby="alert-history">
        <div class="bar">
          <h2 id="alert-history">{t("alerts.history")}</h2>
        </div>
        <Changes changes={alert.history} metricOf={() => alert.metric} />
      </section>
      <section class="card" aria-labelledby="deliveries">
        <div class="bar">
          <h2 id="deliveries">{t("alerts.deliveries")}</h2>
        </div>
        {alert.deliveries.length === 0 && <p class="none">{t("alerts.nobody_told")}</p>}
        <ul class="plain inset">
          {alert.deliveries.map((each) => (
            <li key={`${each.created_at}${each.channel}${each.kind}`}>
              {f.dateTime(each.created_at)} <b>{each.channel}</b> {named(t, "change", each.kind)} ·{" "}
              {named(t, "delivery", each.state)} {each.last_error ?? ""}
            </li>
          ))}
        </ul>
      </section>
      {silencing && (
        <SilenceDialog
          rule={alert.rule}
          server={alert.server_id}
          labels={alert.labels}
          onClose={() => setSilencing(false)}
        />
      )}
    </div>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function seconds(moment: string): number {
  return new Date(moment).getTime() / 1000;
}

function aroundHref(server: string, moment: string): string {
  const middle = seconds(moment);
  const query = { from: String(Math.floor(middle - 2700)), to: String(Math.ceil(middle + 900)) };
  return href(["server", server], query);
}

function Course({ alert, unit }: { readonly alert: Explained; readonly unit: string }) {
  const { t } = usePage();
  const shown = useMemo(() => {
    const samples = [...alert.course];
    const begin = alert.window ? seconds(alert.window.from) : Number.POSITIVE_INFINITY;
    const kept = samples.filter(([time]) => seconds(time) < begin);
    const all = [...kept, ...alert.values];
    const times = all.map(([time]) => seconds(time));
    const lines = [
      { label: alert.metric, values: all.map(([, value]) => value) },
      ...(alert.rule_now?.levels ?? []).map((level) => ({
        label: `${t(level.severity === "critical" ? "state.critical" : "state.warning")} `,
        values: all.map(() => level.threshold),
        colour: level.severity === "critical" ? "#c8524f" : "#b8801f",
      })),
    ];
    return { times, lines };
  }, [alert, t]);
  const first = shown.times[0];
  const last = shown.times[shown.times.length - 1];
  if (first === undefined || last === undefined || first === last) return null;
  const server = alert.server_id;
  const view: View = {
    period: { from: first, to: last },
    onZoom: (period: Period) => {
      if (server === null) return;
      const query = { from: String(Math.floor(period.from)), to: String(Math.ceil(period.to)) };
      go(href(["server", server], query));
    },
    onZoomOut: () => undefined,
    bands: alert.window
      ? [
          {
            from: seconds(alert.window.from),
            to: seconds(alert.window.to),
            severity: alert.severity ?? "warning",
            metric: alert.metric,
          },
        ]
      : [],
    marks: [],
  };
  return (
    <div class="inset">
      <Chart
        title={t("alerts.looked_at")}
        unit={unit}
        view={view}
        times={shown.times}
        lines={shown.lines}
        height={200}
      />
    </div>
  );
}
