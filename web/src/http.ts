// Asking the gateway. Errors are problem JSON, and end as an Error that a person can read.
import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";

export class Failure extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

let onSignedOut: () => void = () => undefined;

export function whenSignedOut(act: () => void): void {
  onSignedOut = act;
}

interface Options {
  readonly method?: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

export async function ask<T>(path: string, options: Options = {}): Promise<T> {
  const method = options.method ?? "GET";
  const init: RequestInit = {
    method,
    credentials: "same-origin",
    headers: { Accept: "application/json", "X-Hostpulse-Page": "1" },
  };
  if (options.body !== undefined) {
    init.body = JSON.stringify(options.body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  if (options.signal) init.signal = options.signal;
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Failure("the gateway does not answer", 0);
  }
  if (response.status === 401) onSignedOut();
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: string };
    throw new Failure(problem.detail ?? `${response.status} ${response.statusText}`, response.status);
  }
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

export function query(values: Readonly<Record<string, string | number>>): string {
  return new URLSearchParams(
    Object.entries(values).map(([name, value]) => [name, String(value)]),
  ).toString();
}

export interface Asked<T> {
  readonly data: T | undefined;
  readonly error: Failure | undefined;
  readonly loading: boolean;
  readonly again: () => void;
}

// Answers that are on their way together are shown together, for to lay out and paint a page costs as
// much for one of them as for all; none waits for the slowest longer than this.
const TOGETHER_MS = 100;
const waiting: (() => void)[] = [];
let outstanding = 0;
let timer = 0;

function showAll(): void {
  clearTimeout(timer);
  timer = 0;
  for (const show of waiting.splice(0)) show();
}

function show(update: () => void): void {
  outstanding -= 1;
  waiting.push(update);
  if (outstanding === 0) showAll();
  else timer ||= window.setTimeout(showAll, TOGETHER_MS);
}

// Ask when the path changes, and every so often; what is there stays while the next is on its way.
export function useAsked<T>(path: string | null, everyMs = 0): Asked<T> {
  const [state, setState] = useState<{ data?: T; error?: Failure; path: string | null }>({ path });
  const [round, setRound] = useState(0);
  const newest = useRef(0);
  const again = useCallback(() => setRound((value) => value + 1), []);
  useLayoutEffect(() => {
    // Before the page is painted, which on a busy machine takes longer than many an answer.
    if (path === null) return;
    const abort = new AbortController();
    const number = ++newest.current;
    let next = 0;
    const run = async () => {
      outstanding += 1;
      try {
        const data = await ask<T>(path, { signal: abort.signal });
        show(() => number === newest.current && !abort.signal.aborted && setState({ data, path }));
      } catch (error) {
        const failure = error instanceof Failure ? error : new Failure(String(error), 0);
        show(() => {
          if (!abort.signal.aborted) setState((before) => ({ ...before, error: failure, path }));
        });
      }
      if (everyMs > 0 && !abort.signal.aborted) next = window.setTimeout(run, everyMs);
    };
    void run();
    return () => {
      abort.abort();
      clearTimeout(next);
    };
  }, [path, everyMs, round]);
  return {
    data: state.data,
    error: state.error,
    loading: path !== null && state.path !== path,
    again,
  };
}
