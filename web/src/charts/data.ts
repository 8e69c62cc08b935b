// What a chart is made of, and the arithmetic before it is drawn.
export type Values = readonly (number | null)[];

export interface Line {
  readonly label: string;
  readonly values: Values;
  readonly colour?: string;
}

export interface Band {
  readonly from: number; // seconds since 1970
  readonly to: number | null;
  readonly severity: string;
  readonly metric: string;
}

export interface Mark {
  readonly time: number;
  readonly text: string;
}

export interface Part {
  readonly labels: Readonly<Record<string, string>>;
  readonly columns: Readonly<Record<string, Values>>;
}

export interface History {
  readonly family: string;
  readonly tier: string;
  readonly step_s: number | null;
  readonly times: readonly number[];
  readonly series: readonly Part[];
}

// The alerts that are about these tables, or about the server as a whole.
export function bandsOf(bands: readonly Band[], tables: readonly string[]): readonly Band[] {
  return bands.filter(({ metric }) => {
    const table = metric.split(".")[0] ?? "";
    return tables.includes(table) || table === "server";
  });
}

// Values of one column of one part, or nothing where there are none.
export function column(part: Part | undefined, name: string): Values {
  return part?.columns[name] ?? [];
}

export function combine(
  columns: readonly Values[],
  how: (values: readonly number[]) => number,
): Values {
  const longest = Math.max(0, ...columns.map((values) => values.length));
  return Array.from({ length: longest }, (_, index) => {
    const present = columns.map((values) => values[index] ?? null);
    return present.includes(null) ? null : how(present as number[]);
  });
}

// Each line on top of those before it. What is missing of one line counts as nothing.
export function stack(lines: readonly Values[]): (number | null)[][] {
  const sums: (number | null)[][] = [];
  let below: (number | null)[] = [];
  for (const values of lines) {
    const sum = values.map((value, index) => {
      const base = below[index] ?? null;
      return value === null && base === null ? null : (value ?? 0) + (base ?? 0);
    });
    sums.push(sum);
    below = sum;
  }
  return sums;
}

// The values of an earlier period, at the moments of this one.
export function shifted(
  then: { readonly times: readonly number[]; readonly values: Values },
  times: readonly number[],
  byS: number,
): (number | null)[] {
  const step = medianStep(then.times);
  let place = 0;
  return times.map((time) => {
    const wanted = time - byS;
    while (
      place + 1 < then.times.length &&
      Math.abs((then.times[place + 1] ?? 0) - wanted) <= Math.abs((then.times[place] ?? 0) - wanted)
    ) {
      place += 1;
    }
    const distance = Math.abs((then.times[place] ?? Number.POSITIVE_INFINITY) - wanted);
    return distance <= step * 1.5 ? (then.values[place] ?? null) : null;
  });
}

export function medianStep(times: readonly number[]): number {
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  steps.sort((a, b) => a - b);
  return steps[steps.length >> 1] ?? 60;
}

export function last(values: Values): number | null {
  for (let index = values.length - 1; index >= 0; index -= 1) {
    const value = values[index];
    if (value != null) return value;
  }
  return null;
}

export function extent(values: Values): readonly [number, number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : [low, high];
}
