// What is wrong, as a sentence.
import type { Cause, State } from "./fleet";
import { amount, unitOf, type Formats } from "./format";
import { named, type Key, type Translate } from "./texts/texts";

type Labels = Readonly<Record<string, unknown>> | undefined;

export function labelsText(labels: Labels): string {
  return Object.values(labels ?? {}).map(String).join(", ");
}

export function ruleText(t: Translate, rule: string): string {
  return named(t, "rule", rule);
}

export function causeText(t: Translate, f: Formats, cause: Cause): string {
  switch (cause.kind) {
    case "offline":
      return t("cause.offline", { ago: f.ago(cause.last_seen) });
    case "stopped":
      return cause.reason ? t("cause.stopped_because", { reason: cause.reason }) : t("cause.stopped");
    case "new":
      return t("cause.new");
    default:
      return alertText(t, cause);
  }
}

function alertText(t: Translate, cause: Cause): string {
  const rule = ruleText(t, cause.rule ?? "");
  const value = cause.value == null ? "" : ` ${amount(cause.value, unitOf(cause.metric ?? ""))}`;
  const labels = labelsText(cause.labels);
  const more = cause.more ? ` ${t("cause.more", { n: cause.more })}` : "";
  return `${rule}${value}${labels ? ` (${labels})` : ""}${more}`;
}

export function stateText(t: Translate, state: State): string {
  return t(`state.${state}` as Key);
}
