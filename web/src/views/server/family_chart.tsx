// A chart of some columns of a family, and of the same columns in the period before.
import { useMemo } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import { column, type History, type Line } from "../../charts/data";
import { usePage } from "../../context";
import type { Key, Translate } from "../../texts/texts";
import type { Read } from "./source";

// How lines are made of a family; it must stay the same from one drawing to the next.
export type Lines = (history: History, t: Translate) => readonly Line[];

interface Props {
  readonly title: Key;
  readonly unit: string;
  readonly view: View;
  readonly read: Read;
  readonly lines: Lines;
  readonly stacked?: boolean;
  readonly top?: number | undefined;
  readonly beforeUpTo?: number;
}

export function FamilyChart({ title, view, read, lines: linesOf, ...rest }: Props) {
  const { t } = usePage();
  const { now, before } = read;
  const lines = useMemo(() => (now ? linesOf(now, t) : []), [now, linesOf, t]);
  const earlier = useMemo(
    () => before && { times: before.times, lines: linesOf(before, t) },
    [before, linesOf, t],
  );
  return (
    <Chart {...rest} title={t(title)} view={view} times={now?.times} lines={lines} before={earlier} />
  );
}

type Named = readonly [label: Key, name: string, colour?: string];

// A line for each of these columns, of a family that there is one of.
export function lineFor(...columns: readonly Named[]): Lines {
  return (history, t) =>
    columns.map(([label, name, colour]) => ({
      label: t(label),
      values: column(history.series[0], name),
      ...(colour && { colour }),
    }));
}

// A line for each of these columns of each device, interface or mount.
export function lineForEach(
  thing: string,
  ...columns: readonly (readonly [label: Key | null, name: string])[]
): Lines {
  return (history, t) =>
    history.series.flatMap((part) =>
      columns.map(([label, name]) => ({
        label: [part.labels[thing], label && t(label)].filter(Boolean).join(" "),
        values: column(part, name),
      })),
    );
}
