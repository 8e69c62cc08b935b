// What a rule would have done with the stored samples, and with other thresholds.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { amount, unitOf } from "../../format";
import { ask } from "../../http";
import { State } from "../../parts/state";
import { href } from "../../router";
import { labelsText } from "../../words";
import { PATH, type Rule } from "./rules";

interface Report {
  readonly servers: number;
  readonly begins_at: string | null;
  readonly trials: readonly {
    readonly threshold: number;
    readonly firings: number;
    readonly lasted_s: number;
    readonly servers: number;
  }[];
  readonly episode_count: number;
  readonly episodes: readonly {
    readonly server: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly severity: string;
    readonly fired_at: string;
    readonly ended_at: string | null;
    readonly value: number | null;
  }[];
}

const SPANS = ["1h", "6h", "24h", "7d"] as const;
const EPISODES_SHOWN = 50;

export function RuleTest({ rule }: { readonly rule: Rule }) {
  const { t, f } = usePage();
  const [report, setReport] = useState<Report | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const unit = unitOf(rule.metric);
  const run = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const thresholds = String(form.get("thresholds") ?? "")
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean)
      .map(Number);
    setBusy(true);
    setError("");
    try {
      const body = { since: form.get("since"), ...(thresholds.length ? { thresholds } : {}) };
      const path = `${PATH}/${encodeURIComponent(rule.name)}/test`;
      setReport(await ask<Report>(path, { method: "POST", body }));
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="card" aria-labelledby="rule-test">
      <div class="bar">
        <h2 id="rule-test">{t("rule_test.title")}</h2>
      </div>
      <form class="inset inline" onSubmit={(event) => void run(event)}>
        <label>
          {t("rule_test.since")}
          <select name="since">
            {SPANS.map((span) => (
              <option key={span} value={span}>
                {t(`range.${span}`)}
              </option>
            ))}
          </select>
        </label>
        <label>
          {t("rule_test.thresholds")}
          <input name="thresholds" placeholder="75, 80, 85" />
        </label>
        <button type="submit" disabled={busy}>
          {t(busy ? "waiting" : "rule_test.run")}
        </button>
      </form>
      <p class="error inset" role="alert">
        {error}
      </p>
      {report && (
        <div class="inset" role="status">
          <p>
            {t("rule_test.result", {
              count: report.episode_count,
              servers: report.servers,
              begin: f.dateTime(report.begins_at),
            })}
          </p>
          <table class="dense">
            <thead>
              <tr>
                <th scope="col" class="number">{t("rule_test.threshold")}</th>
                <th scope="col" class="number">{t("rule_test.firings")}</th>
                <th scope="col" class="number">{t("overview.servers")}</th>
                <th scope="col" class="number">{t("rule_test.lasted")}</th>
              </tr>
            </thead>
            <tbody>
              {report.trials.map((trial) => (
                <tr key={trial.threshold}>
                  <td class="number">{amount(trial.threshold, unit)}</td>
                  <td class="number" data-name={t("rule_test.firings")}>{trial.firings}</td>
                  <td class="number" data-name={t("overview.servers")}>{trial.servers}</td>
                  <td class="number" data-name={t("rule_test.lasted")}>{f.duration(trial.lasted_s)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <ul class="plain">
            {report.episodes
              .slice(-EPISODES_SHOWN)
              .reverse()
              .map((each, index) => (
                <li key={index}>
                  <State state={each.severity} /> {f.dateTime(each.fired_at)}{" "}
                  <a href={href(["server", each.server])}>{each.server}</a>{" "}
                  {labelsText(each.labels)} {amount(each.value, unit)}{" "}
                  <span class="muted">
                    {each.ended_at
                      ? f.duration(
                          (new Date(each.ended_at).getTime() - new Date(each.fired_at).getTime()) /
                            1000,
                        )
                      : t("server.goes_on")}
                  </span>
                </li>
              ))}
          </ul>
        </div>
      )}
    </section>
  );
}
