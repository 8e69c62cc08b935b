// Rules: what is watched for, and what would have come of it.
import { usePage } from "../context";
import { amount, unitOf } from "../format";
import { ask } from "../http";
import { Answer } from "../parts/asked";
import { State } from "../parts/state";
import { go, href } from "../router";
import { ruleText } from "../words";
import { BLANK, RuleEditor } from "./rules/editor";
import { bodyOf, PATH, useRules, type Rule } from "./rules/rules";

const NEW = "+"; // no rule can have this name

export function RulesView({ name }: { readonly name?: string | undefined }) {
  const { t, session } = usePage();
  const asked = useRules();
  if (name === NEW) {
    return (
      <RuleEditor
        rule={BLANK}
        onSaved={(made) => {
          asked.again();
          go(href(["rules", made]));
        }}
      />
    );
  }
  if (name !== undefined) {
    return (
      <Answer asked={asked}>
        {({ rules }) => {
          const rule = rules.find((each) => each.name === name);
          return rule ? (
            <RuleEditor
              key={name}
              rule={rule}
              onSaved={asked.again}
              onRemoved={() => {
                asked.again();
                go(href(["rules"]));
              }}
            />
          ) : (
            <p class="waiting">{t("error.missing")}</p>
          );
        }}
      </Answer>
    );
  }
  return (
    <section class="card" aria-labelledby="rules">
      <div class="bar">
        <h1 id="rules">{t("nav.rules")}</h1>
        {session.is_admin && <a class="button" href={href(["rules", NEW])}>{t("rules.new")}</a>}
      </div>
      <Answer asked={asked}>
        {({ rules }) => (
          <div class="scroll" tabIndex={0} role="region" aria-labelledby="rules">
            <table class="dense">
              <thead>
                <tr>
                  <th scope="col">{t("rules.on")}</th>
                  <th scope="col">{t("rules.rule")}</th>
                  <th scope="col">{t("rules.condition")}</th>
                  <th scope="col">{t("rules.channels")}</th>
                </tr>
              </thead>
              <tbody>
                {rules.map((rule) => (
                  <Line key={rule.name} rule={rule} again={asked.again} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Answer>
    </section>
  );
}

function Line({ rule, again }: { readonly rule: Rule; readonly again: () => void }) {
  const { t, f, session, say } = usePage();
  const toggle = async () => {
    try {
      const body = bodyOf({ ...rule, enabled: !rule.enabled });
      await ask(`${PATH}/${encodeURIComponent(rule.name)}`, { method: "PUT", body });
      say(t(rule.enabled ? "rules.is_off" : "rules.is_on", { name: ruleText(t, rule.name) }));
    } catch (error) {
      say((error as Error).message, "failed");
    }
    again();
  };
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          role="switch"
          aria-label={t("rules.enable", { name: ruleText(t, rule.name) })}
          checked={rule.enabled}
          disabled={!session.is_admin}
          onChange={() => void toggle()}
        />
      </td>
      <td>
        <a href={href(["rules", rule.name])}>
          <b>{ruleText(t, rule.name)}</b>
        </a>
        <span class="block muted">{rule.metric}</span>
      </td>
      <td>
        {rule.levels.map((level) => (
          <span class="block" key={level.severity}>
            <State state={level.severity} /> {rule.operator}{" "}
            {amount(level.threshold, unitOf(rule.metric))}
            {level.for_s > 0 && ` ${t("rules.for", { time: f.duration(level.for_s) })}`}
          </span>
        ))}
      </td>
      <td>{rule.channels.join(", ") || t("rules.all_channels")}</td>
    </tr>
  );
}
