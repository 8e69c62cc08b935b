// Where the charts of a server come from: one question for each family, one more to compare.
import { useMemo } from "preact/hooks";
import type { View } from "../../charts/chart";
import { bandsOf, type History } from "../../charts/data";
import type { Period } from "../../charts/plot";
import { query, useAsked } from "../../http";

export interface Source {
  readonly path: string; // of the server in the API
  readonly period: Period;
  readonly points: number;
  readonly comparing: boolean;
}

export function iso(seconds: number): string {
  return new Date(Math.floor(seconds) * 1000).toISOString();
}

function url({ path, points }: Source, family: string, period: Period): string {
  const values = { family, from: iso(period.from), to: iso(period.to), points };
  return `${path}/history?${query(values)}`;
}

export interface Read {
  readonly now: History | undefined; // undefined: not there yet
  readonly before: History | undefined;
}

export function useHistory(source: Source, family: string, { compare = true } = {}): Read {
  const { from, to } = source.period;
  const earlier = { from: from - (to - from), to: from };
  const comparing = source.comparing && compare;
  const now = useAsked<History>(url(source, family, source.period));
  const before = useAsked<History>(comparing ? url(source, family, earlier) : null);
  return { now: now.data, before: comparing ? before.data : undefined };
}

// The same view with the alerts of these tables only.
export function useViewOf(view: View, tables: readonly string[]): View {
  return useMemo(() => ({ ...view, bands: bandsOf(view.bands, tables) }), [view, tables]);
}
