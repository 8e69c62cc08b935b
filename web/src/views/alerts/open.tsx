import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { useFleet, type Alert } from "../../fleet";
import { amount, unitOf } from "../../format";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { State } from "../../parts/state";
import { href } from "../../router";
import { labelsText, ruleText } from "../../words";
import { acknowledge } from "./acting";
import { SilenceDialog } from "./silence_dialog";

const EVERY_MS = 5000;

export function OpenAlerts() {
  const page = usePage();
  const { t, f, session } = page;
  const { fleet } = useFleet();
  const [silencing, setSilencing] = useState<Alert | null>(null);
  const asked = useAsked<{ alerts: readonly Alert[] }>("/api/v1/alerts", EVERY_MS);
  return (
    <Answer asked={asked}>
      {({ alerts }) => (
        <>
          <p class="sums inset">
            {t("alerts.unacknowledged", { n: fleet?.summary.unacknowledged ?? 0 })}
          </p>
          {alerts.length === 0 && <p class="none">{t("alerts.all_well")}</p>}
          <ul class="alerts">
            {alerts.map((alert) => (
              <li key={alert.id}>
                <State state={alert.state === "firing" ? (alert.severity ?? "warning") : alert.state} />
                <div class="what">
                  <a href={href(["alerts", String(alert.id)])}>
                    <b>{alert.server_id ?? t("alerts.no_server")}</b> {ruleText(t, alert.rule)}{" "}
                    {alert.value !== null && amount(alert.value, unitOf(alert.metric))}
                    {labelsText(alert.labels) && ` (${labelsText(alert.labels)})`}
                  </a>
                  <span class="muted">
                    {f.ago(alert.fired_at ?? alert.changed_at)}
                    {alert.acknowledged_at &&
                      ` · ${t("alerts.acknowledged_by", { who: alert.acknowledged_by ?? "" })}`}
                  </span>
                </div>
                {session.is_admin && (
                  <div class="actions">
                    {alert.state === "firing" && alert.acknowledged_at === null && (
                      <button
                        type="button"
                        onClick={() => void acknowledge(page, alert.id, asked.again)}
                      >
                        {t("alerts.acknowledge")}
                      </button>
                    )}
                    <button type="button" onClick={() => setSilencing(alert)}>
                      {t("silences.silence")}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
          {silencing && (
            <SilenceDialog
              rule={silencing.rule}
              server={silencing.server_id}
              labels={silencing.labels}
              onClose={() => setSilencing(null)}
            />
          )}
        </>
      )}
    </Answer>
  );
}
