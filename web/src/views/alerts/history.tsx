import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { amount, unitOf } from "../../format";
import { ask, query, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { State } from "../../parts/state";
import { href } from "../../router";
import { named } from "../../texts/texts";
import { labelsText, ruleText } from "../../words";
import { useMetrics } from "../rules/rules";

export interface Change {
  readonly id: number;
  readonly time: string;
  readonly alert_id: number;
  readonly rule: string;
  readonly server_id: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly change: string;
  readonly to_state: string;
  readonly severity: string | null;
  readonly value: number | null;
}

const PAGE = 100;

export function AlertHistory() {
  const { t } = usePage();
  const [more, setMore] = useState<readonly Change[]>([]);
  const [done, setDone] = useState(false);
  const metricOf = useMetrics();
  const asked = useAsked<{ changes: readonly Change[] }>(
    `/api/v1/alerts/history?${query({ limit: PAGE })}`,
  );
  const readMore = async (before: number) => {
    const next = await ask<{ changes: readonly Change[] }>(
      `/api/v1/alerts/history?${query({ limit: PAGE, before })}`,
    );
    setMore([...more, ...next.changes]);
    setDone(next.changes.length < PAGE);
  };
  return (
    <Answer asked={asked}>
      {({ changes }) => {
        const all = [...changes, ...more];
        const last = all[all.length - 1];
        return (
          <>
            {all.length === 0 && <p class="none">{t("alerts.none")}</p>}
            {all.length > 0 && <Changes changes={all} metricOf={metricOf} />}
            {last && !done && changes.length === PAGE && (
              <p class="inset">
                <button type="button" onClick={() => void readMore(last.id)}>
                  {t("alerts.more")}
                </button>
              </p>
            )}
          </>
        );
      }}
    </Answer>
  );
}

interface ChangesProps {
  readonly changes: readonly Change[];
  readonly metricOf: (rule: string) => string;
}

export function Changes({ changes, metricOf }: ChangesProps) {
  const { t, f } = usePage();
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t("alerts.history")}>
      <table class="dense">
        <thead>
          <tr>
            <th scope="col">{t("alerts.time")}</th>
            <th scope="col">{t("alerts.change")}</th>
            <th scope="col">{t("overview.server")}</th>
            <th scope="col">{t("alerts.rule")}</th>
            <th scope="col" class="number">{t("alerts.value")}</th>
          </tr>
        </thead>
        <tbody>
          {changes.map((change) => (
            <tr key={change.id}>
              <td>{f.dateTime(change.time)}</td>
              <td>
                <State
                  state={
                    change.to_state === "firing" ? (change.severity ?? "warning") : change.to_state
                  }
                />{" "}
                <span class="muted">{named(t, "change", change.change)}</span>
              </td>
              <td>{change.server_id ?? t("alerts.no_server")}</td>
              <td>
                <a href={href(["alerts", String(change.alert_id)])}>{ruleText(t, change.rule)}</a>{" "}
                {labelsText(change.labels)}
              </td>
              <td class="number">{amount(change.value, unitOf(metricOf(change.rule)))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
