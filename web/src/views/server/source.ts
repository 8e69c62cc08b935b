// Where the charts of a server come from: one question for each family, one more to compare.
import { useMemo } from "preact/hooks";
import type { Period, View } from "../../charts/chart";
import { bandsOf, type History } from "../../charts/data";
import { query, useAsked } from "../../http";

export interface Source {
  readonly path: string; // of the server in the API
  readonly period: Period;
  readonly points: number;
  readonly comparing: boolean;
}

const NOTHING: History = { family: "", tier: "", step_s: null, times: [], series: [] };

function iso(seconds: number): string {
  return new Date(Math.floor(seconds) * 1000).toISOString();
}

function url({ path, points }: Source, family: string, period: Period): string {
  const values = { family, from: iso(period.from), to: iso(period.to), points };
  return `${path}/history?${query(values)}`;
}

export interface Read {
  readonly now: History;
  readonly before: History | undefined;
}

export function useHistory(source: Source, family: string, { compare = true } = {}): Read {
  const { from, to } = source.period;
  const earlier = { from: from - (to - from), to: from };
  const now = useAsked<History>(url(source, family, source.period));
  const before = useAsked<History>(
    source.comparing && compare ? url(source, family, earlier) : null,
  );
  return {
    now: now.data ?? NOTHING,
    before: source.comparing && compare ? before.data : undefined,
  };
}

// The same view with the alerts of these tables only.
export function useViewOf(view: View, tables: readonly string[]): View {
  return useMemo(() => ({ ...view, bands: bandsOf(view.bands, tables) }), [view, tables]);
}
