// Numbers, sizes and times as people read them.
import type { Language, Translate } from "./texts/texts";

const DASH = "–";
const KIBI = 1024;
const KILO = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

export type Unit = "percent" | "bytes" | "bytes_per_s" | "per_s" | "packets_per_s" | "ms" | "1";
export type MaybeNumber = number | null | undefined;

function scaled(value: number, base: number, units: readonly string[]): string {
  let rest = Math.abs(value);
  let index = 0;
  while (rest >= base && index < units.length - 1) {
    rest /= base;
    index += 1;
  }
  const digits = rest >= 100 || index === 0 ? 0 : rest >= 10 ? 1 : 2;
  return `${value < 0 ? "-" : ""}${rest.toFixed(digits)} ${units[index]}`;
}

export function percent(value: MaybeNumber, digits = 1): string {
  if (value == null) return DASH;
  const small = value !== 0 && Math.abs(value) < 0.1;
  return `${value.toFixed(small ? Math.max(digits, 3) : digits)} %`;
}

export function bytes(value: MaybeNumber): string {
  return value == null ? DASH : scaled(value, KIBI, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
}

export function rate(value: MaybeNumber): string {
  return value == null ? DASH : scaled(value, KILO, ["B/s", "kB/s", "MB/s", "GB/s"]);
}

export function count(value: MaybeNumber): string {
  if (value == null) return DASH;
  if (Math.abs(value) >= 10_000) return scaled(value, KILO, ["", "k", "M", "G"]).trim();
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}

export function amount(value: MaybeNumber, unit: string): string {
  if (value == null) return DASH;
  switch (unit) {
    case "percent":
      return percent(value);
    case "bytes":
      return bytes(value);
    case "bytes_per_s":
      return rate(value);
    case "ms":
      return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
    case "per_s":
    case "packets_per_s":
      return `${count(value)}/s`;
    default:
      return count(value);
  }
}

// The unit of a metric is the end of its name.
export function unitOf(metric: string): Unit {
  if (metric.endsWith("_bytes_per_s")) return "bytes_per_s";
  if (metric.endsWith("_packets_per_s")) return "packets_per_s";
  if (metric.endsWith("_per_s")) return "per_s";
  if (metric.endsWith("_percent") || metric.endsWith("_avg10")) return "percent";
  if (metric.endsWith("_bytes")) return "bytes";
  if (metric.endsWith("_ms")) return "ms";
  return "1";
}

export class Formats {
  readonly #dateTime: Intl.DateTimeFormat;
  readonly #time: Intl.DateTimeFormat;
  readonly #relative: Intl.RelativeTimeFormat;
  readonly #t: Translate;

  constructor(language: Language, t: Translate) {
    this.#dateTime = new Intl.DateTimeFormat(language, {
      dateStyle: "medium",
      timeStyle: "medium",
      hourCycle: "h23",
    });
    this.#time = new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" });
    this.#relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
    this.#t = t;
  }

  dateTime(moment: string | number | Date | null | undefined): string {
    return moment == null ? DASH : this.#dateTime.format(new Date(moment));
  }

  time(moment: string | number | Date): string {
    return this.#time.format(new Date(moment));
  }

  ago(moment: string | null | undefined, now = Date.now()): string {
    if (moment == null) return DASH;
    const seconds = Math.round((new Date(moment).getTime() - now) / 1000);
    const size = Math.abs(seconds);
    if (size < MINUTE_S) return this.#relative.format(seconds, "second");
    if (size < HOUR_S) return this.#relative.format(Math.round(seconds / MINUTE_S), "minute");
    if (size < DAY_S * 2) return this.#relative.format(Math.round(seconds / HOUR_S), "hour");
    return this.#relative.format(Math.round(seconds / DAY_S), "day");
  }

  duration(seconds: MaybeNumber): string {
    if (seconds == null) return DASH;
    if (seconds < MINUTE_S) return this.#t("duration.seconds", { n: Math.round(seconds) });
    if (seconds < HOUR_S) return this.#t("duration.minutes", { n: Math.round(seconds / MINUTE_S) });
    if (seconds < 2 * DAY_S) return this.#t("duration.hours", { n: round1(seconds / HOUR_S) });
    return this.#t("duration.days", { n: round1(seconds / DAY_S) });
  }
}

function round1(value: number): number {
  return value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}
