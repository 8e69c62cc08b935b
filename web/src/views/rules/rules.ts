// Rules as the API has them, and as it takes them back.
import { useMemo } from "preact/hooks";
import { useAsked } from "../../http";

export interface Level {
  readonly severity: string;
  readonly threshold: number;
  readonly for_s: number;
}

export interface Rule {
  readonly name: string;
  readonly metric: string;
  readonly operator: string;
  readonly levels: readonly Level[];
  readonly recovery_threshold: number | null;
  readonly keep_firing_for_s: number;
  readonly no_data: string;
  readonly repeat_interval_s: number;
  readonly channels: readonly string[];
  readonly group_by: string;
  readonly escalate_after_s: number | null;
  readonly escalate_channels: readonly string[];
  readonly label_filter: Readonly<Record<string, unknown>>;
  readonly server_selector: {
    readonly names?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly annotations: Readonly<Record<string, string>>;
  readonly enabled: boolean;
  readonly seeded: boolean;
  readonly edited_at: string | null;
}

export const PATH = "/api/v1/rules";

export function useRules() {
  return useAsked<{ rules: readonly Rule[] }>(PATH);
}

// Which metric a rule of this name is about.
export function useMetrics(): (rule: string) => string {
  const { data } = useRules();
  return useMemo(() => {
    const metrics = new Map((data?.rules ?? []).map((rule) => [rule.name, rule.metric]));
    return (rule: string) => metrics.get(rule) ?? "";
  }, [data]);
}

// What PUT takes: the keys of a rule file. All of them, for what is left out gets its default.
export function bodyOf(rule: Rule): Record<string, unknown> {
  return {
    metric: rule.metric,
    operator: rule.operator,
    levels: rule.levels.map((level) => ({
      severity: level.severity,
      threshold: level.threshold,
      for: level.for_s,
    })),
    ...(rule.recovery_threshold === null ? {} : { recovery_threshold: rule.recovery_threshold }),
    keep_firing_for: rule.keep_firing_for_s,
    no_data: rule.no_data,
    repeat: rule.repeat_interval_s,
    channels: rule.channels,
    group_by: rule.group_by,
    ...(rule.escalate_after_s === null ? {} : { escalate_after: rule.escalate_after_s }),
    escalate_channels: rule.escalate_channels,
    labels: rule.label_filter,
    servers: rule.server_selector,
    annotations: rule.annotations,
    enabled: rule.enabled,
  };
}
