// A state by shape, colour and word, so that none of them is needed alone.
import { usePage } from "../context";
import { named } from "../texts/texts";

const SHAPES: Readonly<Record<string, string>> = {
  ok: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z",
  resolved: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z",
  warning: "M8 1.5l7 13H1z",
  pending: "M8 1.5l7 13H1z",
  critical: "M2 2h12v12H2z",
  firing: "M2 2h12v12H2z",
  offline: "M3 1.5L8 6.2 13 1.5 14.5 3 9.8 8l4.7 5-1.5 1.5L8 9.8 3 14.5 1.5 13 6.2 8 1.5 3z",
  no_data: "M3 1.5L8 6.2 13 1.5 14.5 3 9.8 8l4.7 5-1.5 1.5L8 9.8 3 14.5 1.5 13 6.2 8 1.5 3z",
};

export function State({ state }: { readonly state: string }) {
  const { t } = usePage();
  return (
    <span class={`state state-${state}`}>
      <svg viewBox="0 0 16 16" width="11" height="11" aria-hidden="true">
        <path d={SHAPES[state] ?? SHAPES["ok"]} fill="currentColor" />
      </svg>
      {named(t, "state", state)}
    </span>
  );
}
