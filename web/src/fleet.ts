// The fleet, live: read once, then kept up to date by the gateway's events.
import { useEffect, useState } from "preact/hooks";
import { ask } from "./http";

export type State = "ok" | "warning" | "critical" | "offline";

export interface Cause {
  readonly kind: string;
  readonly reason?: string | null;
  readonly last_seen?: string | null;
  readonly alert?: number;
  readonly rule?: string;
  readonly metric?: string;
  readonly value?: number | null;
  readonly labels?: Readonly<Record<string, string>>;
  readonly more?: number;
}

export interface Server {
  readonly name: string;
  readonly state: State;
  readonly cause: Cause | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly cpu: number | null;
  readonly memory: number | null;
  readonly disk: number | null;
  readonly mount: string | null;
  readonly rx: number | null;
  readonly tx: number | null;
}

export type Sparklines = Readonly<Partial<Record<"cpu" | "memory", readonly (number | null)[]>>>;

export interface Alert {
  readonly id: number;
  readonly rule: string;
  readonly metric: string;
  readonly server_id: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: string;
  readonly severity: string | null;
  readonly value: number | null;
  readonly cause: string | null;
  readonly fired_at: string | null;
  readonly resolved_at: string | null;
  readonly acknowledged_at: string | null;
  readonly acknowledged_by: string | null;
  readonly changed_at: string;
}

export interface Summary {
  readonly servers: number;
  readonly states: Readonly<Record<State, number>>;
  readonly cpu: number | null;
  readonly memory: number | null;
  readonly disk: number | null;
  readonly rx: number | null;
  readonly tx: number | null;
  readonly firing: number;
  readonly unacknowledged: number;
}

export interface Fleet {
  readonly servers: readonly Server[];
  readonly sparklines: ReadonlyMap<string, Sparklines>;
  readonly summary: Summary;
  readonly alerts: readonly Alert[];
}

interface Whole {
  readonly servers: readonly (Server & { readonly sparklines: Sparklines })[];
  readonly fleet: Summary;
  readonly alerts: readonly Alert[];
  readonly snapshot: number;
}

interface Delta {
  readonly servers?: readonly Server[];
  readonly gone?: readonly string[];
  readonly fleet?: Summary;
  readonly alerts?: readonly Alert[];
}

export type Link = "waiting" | "live" | "broken";

const SPARKLINES_EVERY_MS = 60_000;
const listeners = new Set<() => void>();
const byName = new Map<string, Server>();
let sparklines = new Map<string, Sparklines>();
let summary: Summary | undefined;
let snapshot = 0;
let alerts: readonly Alert[] = [];
let fleet: Fleet | undefined;
let link: Link = "waiting";
let stop: (() => void) | undefined;

function publish(): void {
  if (summary) fleet = { servers: [...byName.values()], sparklines, summary, alerts };
  for (const listener of listeners) listener();
}

async function readWhole(): Promise<void> {
  const whole = await ask<Whole>("/api/v1/overview");
  byName.clear();
  sparklines = new Map();
  for (const { sparklines: lines, ...server } of whole.servers) {
    byName.set(server.name, server);
    sparklines.set(server.name, lines);
  }
  summary = whole.fleet;
  snapshot = whole.snapshot;
  alerts = whole.alerts;
  publish();
}

function take(delta: Delta): void {
  for (const server of delta.servers ?? []) byName.set(server.name, server);
  for (const name of delta.gone ?? []) byName.delete(name);
  summary = delta.fleet ?? summary;
  alerts = delta.alerts ?? alerts;
  publish();
}

function setLink(next: Link): void {
  if (link === next) return;
  link = next;
  publish();
}

export function start(): void {
  if (stop) return;
  const read = () => readWhole().catch(() => setLink("broken"));
  const timer = window.setInterval(() => void read(), SPARKLINES_EVERY_MS);
  let events: EventSource | undefined;
  let ended = false;
  void read().then(() => {
    if (ended) return;
    events = new EventSource(`/api/v1/events?seen=${snapshot}`);
    events.addEventListener("open", () => setLink("live"));
    events.addEventListener("error", () => setLink("broken"));
    events.addEventListener("overview", (event) => {
      setLink("live");
      take(JSON.parse((event as MessageEvent<string>).data) as Delta);
    });
  });
  stop = () => {
    ended = true;
    clearInterval(timer);
    events?.close();
  };
}

export function end(): void {
  stop?.();
  stop = undefined;
  byName.clear();
  summary = undefined;
  fleet = undefined;
  alerts = [];
  link = "waiting";
}

export function refresh(): void {
  void readWhole().catch(() => undefined);
}

export function useFleet(): { fleet: Fleet | undefined; link: Link } {
  const [, setRound] = useState(0);
  useEffect(() => {
    const listener = () => setRound((value) => value + 1);
    listeners.add(listener);
    listener();
    return () => void listeners.delete(listener);
  }, []);
  return { fleet, link };
}
