// One rule: make it, change it, and try it on what is stored.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { writeLabels } from "../../parts/written";
import { ruleText } from "../../words";
import { read, SEVERITIES, writeTexts } from "./form";
import { RuleTest } from "./test";
import { bodyOf, PATH, type Rule } from "./rules";

const OPERATORS = [">", ">=", "<", "<="];
const NO_DATA = ["keep", "ok", "alert"] as const;
const GROUPS = ["rule", "server", "none"] as const;

// What a rule says that says nothing yet.
export const BLANK: Rule = {
  name: "",
  metric: "",
  operator: ">",
  levels: [],
  recovery_threshold: null,
  keep_firing_for_s: 0,
  no_data: "keep",
  repeat_interval_s: 14_400,
  channels: [],
  group_by: "rule",
  escalate_after_s: null,
  escalate_channels: [],
  label_filter: {},
  server_selector: {},
  annotations: {},
  enabled: true,
  seeded: false,
  edited_at: null,
};

interface Props {
  readonly rule: Rule;
  readonly onSaved: (name: string) => void;
  readonly onRemoved?: () => void;
}

// One that is enabled can't be removed: its alerts end first.
export function RuleEditor({ rule, onSaved, onRemoved = () => undefined }: Props) {
  const { t, say, session } = usePage();
  const [error, setError] = useState("");
  const isNew = rule.name === "";
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    const wanted = read(new FormData(event.currentTarget as HTMLFormElement), rule);
    try {
      await ask(`${PATH}/${encodeURIComponent(wanted.name)}`, {
        method: "PUT",
        body: bodyOf(wanted),
      });
      setError("");
      say(t("rules.saved"));
      onSaved(wanted.name);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  const remove = async () => {
    try {
      await ask(`${PATH}/${encodeURIComponent(rule.name)}`, { method: "DELETE" });
      say(t("rules.removed", { name: ruleText(t, rule.name) }));
      onRemoved();
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <div class="stacked">
      <section class="card" aria-labelledby="rule">
        <div class="bar">
          <h1 id="rule">{isNew ? t("rules.new") : ruleText(t, rule.name)}</h1>
          <span class="muted">{rule.metric}</span>
        </div>
        <form class="inset" onSubmit={(event) => void save(event)}>
          <fieldset class="form wide" disabled={!session.is_admin}>
            {isNew && <Identity />}
            <Condition rule={rule} />
            <Whom rule={rule} />
            <Telling rule={rule} />
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
            {!isNew && !rule.enabled && (
              <button type="button" class="danger" onClick={() => void remove()}>
                {t("rules.remove")}
              </button>
            )}
          </fieldset>
        </form>
      </section>
      {!isNew && <RuleTest rule={rule} />}
    </div>
  );
}

function Identity() {
  const { t } = usePage();
  const catalog = useAsked<{ metrics: readonly { metric: string }[] }>("/api/v1/metrics/catalog");
  return (
    <>
      <label>
        {t("rules.name")}
        <input name="name" required maxLength={63} pattern="[A-Za-z0-9][A-Za-z0-9_.\-]*" />
      </label>
      <label>
        {t("rules.metric")}
        <input name="metric" required list="metrics" placeholder="cpu.usage_percent" />
        <datalist id="metrics">
          {(catalog.data?.metrics ?? []).map(({ metric }) => (
            <option key={metric} value={metric} />
          ))}
        </datalist>
      </label>
    </>
  );
}

interface PartProps {
  readonly rule: Rule;
}

function Condition({ rule }: PartProps) {
  const { t } = usePage();
  return (
    <>
      <label>
        {t("rules.operator")}
        <select name="operator">
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
        {t("rules.no_data")}
        <select name="no_data">
          {NO_DATA.map((each) => (
            <option key={each} value={each} selected={each === rule.no_data}>
              {t(`no_data.${each}`)}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}

function Whom({ rule }: PartProps) {
  const { t } = usePage();
  const { names = [], labels = {} } = rule.server_selector;
  return (
    <>
      <label>
        {t("rules.servers")}
        <input name="servers" defaultValue={names.join(", ")} />
      </label>
      <label>
        {t("rules.server_labels")}
        <textarea
          name="server_labels"
          rows={2}
          placeholder="env=prod"
          defaultValue={writeLabels(labels)}
        />
      </label>
      <label>
        {t("rules.labels")}
        <textarea
          name="labels"
          rows={2}
          placeholder="mount=/, /var"
          defaultValue={writeLabels(rule.label_filter)}
        />
      </label>
    </>
  );
}

function Telling({ rule }: PartProps) {
  const { t } = usePage();
  const asked = useAsked<{ channels: readonly { name: string }[] }>("/api/v1/channels");
  const known = (asked.data?.channels ?? []).map(({ name }) => name);
  return (
    <>
      <Channels
        name="channels"
        title={t("rules.channels_chosen")}
        none={t("rules.channels_none")}
        known={known}
        chosen={rule.channels}
      />
      <label>
        {t("rules.group_by")}
        <select name="group_by">
          {GROUPS.map((each) => (
            <option key={each} value={each} selected={each === rule.group_by}>
              {t(`rules.group_${each}`)}
            </option>
          ))}
        </select>
      </label>
      <label>
        {t("rules.repeat")}
        <input name="repeat" type="number" min="60" defaultValue={rule.repeat_interval_s} />
      </label>
      <Channels
        name="escalate_channels"
        title={t("rules.escalate_channels")}
        none={t("rules.channels_none")}
        known={known}
        chosen={rule.escalate_channels}
      />
      <label>
        {t("rules.escalate")}
        <input name="escalate" type="number" min="1" defaultValue={rule.escalate_after_s ?? ""} />
      </label>
      <label>
        {t("rules.annotations")}
        <textarea
          name="annotations"
          rows={2}
          placeholder="runbook: https://example.org/cpu"
          defaultValue={writeTexts(rule.annotations)}
        />
      </label>
    </>
  );
}

interface ChannelsProps {
  readonly name: string;
  readonly title: string;
  readonly none: string;
  readonly known: readonly string[];
  readonly chosen: readonly string[];
}

// Also those that a rule names and that are not there (any more): saving must not lose them.
function Channels({ name, title, none, known, chosen }: ChannelsProps) {
  const all = [...new Set([...known, ...chosen])].sort();
  return (
    <fieldset class="choices">
      <legend>{title}</legend>
      {all.length === 0 && <span class="muted">{none}</span>}
      {all.map((each) => (
        <label class="check" key={each}>
          <input
            type="checkbox"
            name={name}
            value={each}
            defaultChecked={chosen.includes(each)}
          />
          {each}
        </label>
      ))}
    </fieldset>
  );
}
