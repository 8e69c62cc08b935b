import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { useFleet } from "../../fleet";
import { amount, unitOf } from "../../format";
import { query } from "../../http";
import { Paged } from "../../parts/paged";
import { State } from "../../parts/state";
import { href } from "../../router";
import { named } from "../../texts/texts";
import { labelsText, ruleText } from "../../words";
import { useMetrics, useRules } from "../rules/rules";

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

type Page = { readonly changes: readonly Change[] };
type Filter = Readonly<Partial<Record<"server" | "rule", string>>>;

function path(filter: Filter, before?: number): string {
  const values = { ...filter, limit: PAGE, ...(before ? { before } : {}) };
  return `/api/v1/alerts/history?${query(values)}`;
}

export function AlertHistory() {
  const { t } = usePage();
  const { fleet } = useFleet();
  const [filter, setFilter] = useState<Filter>({});
  const rules = useRules().data?.rules ?? [];
  const choices = {
    server: (fleet?.servers ?? []).map(({ name }) => [name, name] as const),
    rule: rules.map(({ name }) => [name, ruleText(t, name)] as const),
  };
  return (
    <>
      <div class="inset inline">
        {(["server", "rule"] as const).map((kind) => (
          <label key={kind}>
            {t(kind === "server" ? "overview.server" : "alerts.rule")}
            <select
              onChange={(event) => {
                const { [kind]: _, ...rest } = filter;
                const chosen = event.currentTarget.value;
                setFilter(chosen === "" ? rest : { ...rest, [kind]: chosen });
              }}
            >
              <option value="">{t("alerts.all")}</option>
              {choices[kind].map(([name, text]) => (
                <option key={name} value={name}>
                  {text}
                </option>
              ))}
            </select>
          </label>
        ))}
      </div>
      <Filtered key={JSON.stringify(filter)} filter={filter} />
    </>
  );
}

function Filtered({ filter }: { readonly filter: Filter }) {
  const { t } = usePage();
  const metricOf = useMetrics();
  return (
    <Paged<Page, Change>
      path={(before) => path(filter, before)}
      entriesOf={({ changes }) => changes}
      full={PAGE}
    >
      {(changes) =>
        changes.length === 0 ? (
          <p class="none">{t("alerts.none")}</p>
        ) : (
          <Changes changes={changes} metricOf={metricOf} />
        )
      }
    </Paged>
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
