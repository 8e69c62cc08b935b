// One rule: change it, and try it on what is stored.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { ruleText } from "../../words";
import { RuleTest } from "./test";
import { bodyOf, PATH, type Level, type Rule } from "./rules";

const OPERATORS = [">", ">=", "<", "<="];
const NO_DATA = ["keep", "ok", "alert"] as const;
const SEVERITIES = ["warning", "critical"] as const;

interface Props {
  readonly rule: Rule;
  readonly onSaved: () => void;
}

function number(form: FormData, name: string): number | null {
  const text = String(form.get(name) ?? "").trim();
  return text === "" ? null : Number(text);
}

function read(form: FormData, rule: Rule): Rule {
  const levels = SEVERITIES.flatMap((severity): Level[] => {
    const threshold = number(form, `${severity}.threshold`);
    const for_s = number(form, `${severity}.for`) ?? 0;
    return threshold === null ? [] : [{ severity, threshold, for_s }];
  });
  return {
    ...rule,
    operator: String(form.get("operator")),
    levels,
    recovery_threshold: number(form, "recovery"),
    keep_firing_for_s: number(form, "keep") ?? 0,
    repeat_interval_s: number(form, "repeat") ?? rule.repeat_interval_s,
    no_data: String(form.get("no_data")),
    channels: String(form.get("channels") ?? "")
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean),
    enabled: form.get("enabled") !== null,
  };
}

export function RuleEditor({ rule, onSaved }: Props) {
  const { t, say, session } = usePage();
  const [error, setError] = useState("");
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    try {
      await ask(`${PATH}/${encodeURIComponent(rule.name)}`, {
        method: "PUT",
        body: bodyOf(read(form, rule)),
      });
      setError("");
      say(t("rules.saved"));
      onSaved();
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <div class="stacked">
      <section class="card" aria-labelledby="rule">
        <div class="bar">
          <h1 id="rule">{ruleText(t, rule.name)}</h1>
          <span class="muted">{rule.metric}</span>
        </div>
        <form class="inset" onSubmit={(event) => void save(event)}>
          <fieldset class="form wide" disabled={!session.is_admin}>
            <label>
              {t("rules.operator")}
              <select name="operator" defaultValue={rule.operator}>
                {OPERATORS.map((each) => (
                  <option key={each} selected={each === rule.operator}>
                    {each}
                  </option>
                ))}
              </select>
            </label>
            {SEVERITIES.map((severity) => {
              const level = rule.levels.find((each) => each.severity === severity);
              return (
                <div class="pair" key={severity}>
                  <label>
                    {t(`rules.${severity}_at`)}
                    <input
                      name={`${severity}.threshold`}
                      type="number"
                      step="any"
                      defaultValue={level?.threshold ?? ""}
                    />
                  </label>
                  <label>
                    {t("rules.for_seconds")}
                    <input
                      name={`${severity}.for`}
                      type="number"
                      min="0"
                      defaultValue={level?.for_s ?? ""}
                    />
                  </label>
                </div>
              );
            })}
            <label>
              {t("rules.recovery")}
              <input
                name="recovery"
                type="number"
                step="any"
                defaultValue={rule.recovery_threshold ?? ""}
              />
            </label>
            <label>
              {t("rules.keep")}
              <input name="keep" type="number" min="0" defaultValue={rule.keep_firing_for_s} />
            </label>
            <label>
              {t("rules.repeat")}
              <input name="repeat" type="number" min="60" defaultValue={rule.repeat_interval_s} />
            </label>
            <label>
              {t("rules.no_data")}
              <select name="no_data">
                {NO_DATA.map((each) => (
                  <option key={each} value={each} selected={each === rule.no_data}>
                    {t(`no_data.${each}`)}
                  </option>
                ))}
              </select>
            </label>
            <label>
              {t("rules.channels_list")}
              <input name="channels" defaultValue={rule.channels.join(", ")} />
            </label>
            <label class="check">
              <input type="checkbox" name="enabled" defaultChecked={rule.enabled} />
              {t("rules.on")}
            </label>
            <p class="error" role="alert">
              {error}
            </p>
            <button type="submit" class="main">
              {t("rules.save")}
            </button>
          </fieldset>
        </form>
      </section>
      <RuleTest rule={rule} />
    </div>
  );
}
