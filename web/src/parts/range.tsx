// The time range: from the last 5 minutes to a year, or from one moment to another.
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Period } from "../charts/plot";
import { usePage } from "../context";
import type { Key } from "../texts/texts";

export const RANGES: Readonly<Record<string, number>> = {
  "5m": 300,
  "15m": 900,
  "1h": 3600,
  "6h": 21_600,
  "24h": 86_400,
  "7d": 604_800,
  "30d": 2_592_000,
  "1y": 31_536_000,
};
const DEFAULT = "1h";
const REFRESH_SHARE = 360; // a range is read anew when it has moved by a pixel or two
const REFRESH_MIN_MS = 5000;
const REFRESH_MAX_MS = 120_000;

export interface Range {
  readonly name: string | null; // null: absolute
  readonly period: Period;
}

export type Query = ReadonlyMap<string, string>;

// The range that a query names; the last so long moves on by itself.
export function useRange(query: Query): Range {
  const from = Number(query.get("from"));
  const to = Number(query.get("to"));
  const absolute = from > 0 && to > from;
  const asked = query.get("range") ?? DEFAULT;
  const name = asked in RANGES ? asked : DEFAULT;
  const seconds = RANGES[name] ?? 3600;
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    setNow(Date.now() / 1000);
    if (absolute) return;
    const everyMs = Math.min(
      REFRESH_MAX_MS,
      Math.max(REFRESH_MIN_MS, (seconds * 1000) / REFRESH_SHARE),
    );
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now() / 1000);
    }, everyMs);
    return () => clearInterval(timer);
  }, [absolute, seconds]);
  return useMemo(
    () =>
      absolute
        ? { name: null, period: { from, to } }
        : { name, period: { from: now - seconds, to: now } },
    [absolute, from, to, name, now, seconds],
  );
}

interface Props {
  readonly range: Range;
  readonly onChange: (query: Record<string, string>) => void;
}

export function RangePicker({ range, onChange }: Props) {
  const { t } = usePage();
  return (
    <div class="range">
      <div role="group" aria-label={t("range.label")} class="segments">
        {Object.keys(RANGES).map((name) => (
          <button
            type="button"
            key={name}
            aria-pressed={range.name === name}
            title={t(`range.${name}` as Key)}
            onClick={() => onChange({ range: name })}
          >
            {name}
          </button>
        ))}
      </div>
      <Absolute range={range} onChange={onChange} />
    </div>
  );
}

function Absolute({ range, onChange }: Props) {
  const { t, f } = usePage();
  const { period } = range;
  const [open, setOpen] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const [from, to] = ["from", "to"].map(
      (name) => new Date(String(form.get(name))).getTime() / 1000,
    );
    if (from !== undefined && to !== undefined && from < to) {
      onChange({ from: String(Math.floor(from)), to: String(Math.ceil(to)) });
      setOpen(false);
    }
  };
  const shown = `${f.dateTime(period.from * 1000)} – ${f.dateTime(period.to * 1000)}`;
  return (
    <details
      class="popover"
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>{range.name === null ? shown : t("range.absolute")}</summary>
      <form onSubmit={submit}>
        {(["from", "to"] as const).map((name) => (
          <label key={`${name}${open}`}>
            {t(`range.${name}`)}
            <input type="datetime-local" name={name} step="1" required defaultValue={local(period[name])} />
          </label>
        ))}
        <button type="submit" class="main">
          {t("range.show")}
        </button>
      </form>
    </details>
  );
}

// What <input type="datetime-local"> takes: local time without a zone.
function local(seconds: number): string {
  const date = new Date(seconds * 1000);
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
