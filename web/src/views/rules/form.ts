// A rule as a person writes it in a form, and back. The gateway checks it; here it is only read.
import { pairs, words } from "../../parts/written";
import type { Level, Rule } from "./rules";

export const SEVERITIES = ["warning", "critical"] as const;

export function writeTexts(texts: Readonly<Record<string, string>>): string {
  return Object.entries(texts)
    .map(([name, text]) => `${name}: ${text}`)
    .join("\n");
}

function number(form: FormData, name: string): number | null {
  const text = String(form.get(name) ?? "").trim();
  return text === "" ? null : Number(text);
}

export function read(form: FormData, rule: Rule): Rule {
  const levels = SEVERITIES.flatMap((severity): Level[] => {
    const threshold = number(form, `${severity}.threshold`);
    const for_s = number(form, `${severity}.for`) ?? 0;
    return threshold === null ? [] : [{ severity, threshold, for_s }];
  });
  const names = words(form.get("servers"));
  const labels = pairs(form.get("server_labels"), "=");
  return {
    ...rule,
    name: String(form.get("name") ?? rule.name).trim(),
    metric: String(form.get("metric") ?? rule.metric).trim(),
    operator: String(form.get("operator")),
    levels,
    recovery_threshold: number(form, "recovery"),
    keep_firing_for_s: number(form, "keep") ?? 0,
    repeat_interval_s: number(form, "repeat") ?? rule.repeat_interval_s,
    no_data: String(form.get("no_data")),
    channels: form.getAll("channels").map(String),
    group_by: String(form.get("group_by")),
    escalate_after_s: number(form, "escalate"),
    escalate_channels: form.getAll("escalate_channels").map(String),
    label_filter: Object.fromEntries(
      pairs(form.get("labels"), "=").map(([name, values]) => [name, words(values)]),
    ),
    server_selector: {
      ...(names.length && { names }),
      ...(labels.length && { labels: Object.fromEntries(labels) }),
    },
    annotations: Object.fromEntries(pairs(form.get("annotations"), ":")),
    enabled: form.get("enabled") !== null,
  };
}
