// The alerts that changed last, and how many nobody has taken on.
import { usePage } from "../context";
import type { Alert, Fleet } from "../fleet";
import { amount, unitOf } from "../format";
import { href } from "../router";
import { labelsText, ruleText } from "../words";
import { State } from "./state";

export function RecentAlerts({ fleet }: { readonly fleet: Fleet }) {
  const { t } = usePage();
  const { unacknowledged } = fleet.summary;
  return (
    <section class="card recent" aria-labelledby="recent">
      <div class="bar">
        <h2 id="recent">{t("alerts.recent")}</h2>
        <span class={unacknowledged ? "badge badge-on" : "badge"}>
          {t("alerts.unacknowledged", { n: unacknowledged })}
        </span>
      </div>
      {fleet.alerts.length === 0 && <p class="none">{t("alerts.none")}</p>}
      <ul>
        {fleet.alerts.map((alert) => (
          <Line key={alert.id} alert={alert} />
        ))}
      </ul>
    </section>
  );
}

function Line({ alert }: { readonly alert: Alert }) {
  const { t, f } = usePage();
  const state = alert.state === "firing" ? (alert.severity ?? "warning") : alert.state;
  const labels = labelsText(alert.labels);
  return (
    <li>
      <a href={href(["alerts", String(alert.id)])}>
        <span class="first">
          <State state={state} />
          <time dateTime={alert.changed_at} title={f.dateTime(alert.changed_at)}>
            {f.ago(alert.changed_at)}
          </time>
        </span>
        <b>{alert.server_id ?? t("alerts.no_server")}</b>
        <span class="what">
          {ruleText(t, alert.rule)} {amount(alert.value, unitOf(alert.metric))}
          {labels && ` (${labels})`}
          {alert.acknowledged_at && ` · ${t("alerts.acknowledged")}`}
        </span>
      </a>
    </li>
  );
}
