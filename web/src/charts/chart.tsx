// One chart over time: lines or a stack, with a legend that tells the values under the cursor.
import { useEffect, useMemo, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { usePage } from "../context";
import { amount } from "../format";
import { axes } from "./axes";
import { fromPage, lineColour } from "./colours";
import { extent, last, shifted, stack, type Line } from "./data";
import { overlays, type Overlays } from "./overlays";
import { usePlot, type Period, type Zooming } from "./plot";

export interface View extends Overlays, Zooming {}

export interface Earlier {
  readonly times: readonly number[];
  readonly lines: readonly Line[];
}

interface Props {
  readonly title: string;
  readonly unit: string;
  readonly view: View;
  readonly times: readonly number[] | undefined; // undefined: not there yet
  readonly lines: readonly Line[];
  readonly stacked?: boolean;
  readonly top?: number | undefined; // the axis goes at least so far
  readonly before?: Earlier | undefined;
  readonly beforeUpTo?: number; // of a stack: how many lines of before are added up; else all
  readonly height?: number;
}

const DEFAULT_HEIGHT_PX = 170;
const WIDTH_PX = 1.4;

export function Chart(props: Props) {
  const { title, unit, view, times, lines, stacked = false, before, beforeUpTo, top } = props;
  const height = props.height ?? DEFAULT_HEIGHT_PX;
  const { t, dark } = usePage();
  const legend = useRef<HTMLUListElement>(null);
  const { period } = view;
  const data = useMemo(
    () => times && aligned(times, lines, { stacked, before, beforeUpTo, period }),
    [times, lines, stacked, before, beforeUpTo, period],
  );
  const newest = useRef(props);
  newest.current = props;
  const shape = JSON.stringify([
    lines.map((line) => [line.label, line.colour]),
    [stacked, unit, top, dark, before !== undefined],
  ]);
  const { box, plot } = usePlot({
    shape,
    height,
    data,
    view,
    make: () => ({
      scales: { y: { range: (_, low, high) => yRange(low, high, top) } },
      axes: axes(unit),
      series: [{}, ...seriesOf(lines, { stacked, before: before !== undefined })],
      plugins: [overlays(() => newest.current.view)],
    }),
    onCursor: (u) => write(legend.current, u.cursor.idx ?? null, newest.current.lines, unit),
  });
  useEffect(() => {
    write(legend.current, plot.current?.cursor.idx ?? null, lines, unit);
  }, [data, shape]);

  const empty = times !== undefined && lines.every((line) => extent(line.values) === null);
  return (
    <figure class="chart" aria-label={`${title}. ${summary(lines, unit, t("chart.none"))}`}>
      <figcaption>
        <span class="title">{title}</span>
        <ul class="legend" ref={legend}>
          {lines.map((line, index) => (
            <li key={line.label}>
              <i style={{ background: line.colour ?? lineColour(index) }} />
              {line.label && <span>{line.label}</span>} <b />
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="plot" ref={box} style={{ height: `${height}px` }} />
      {empty && <p class="nothing">{t("chart.none")}</p>}
    </figure>
  );
}

function summary(lines: readonly Line[], unit: string, none: string): string {
  return lines
    .map((line) => {
      const found = extent(line.values);
      const text = found
        ? `${amount(last(line.values), unit)} (${amount(found[0], unit)} – ${amount(found[1], unit)})`
        : none;
      return `${line.label} ${text}`.trim();
    })
    .join("; ");
}

// Written without Preact: the cursor moves sixty times a second.
function write(
  legend: HTMLUListElement | null,
  index: number | null,
  lines: readonly Line[],
  unit: string,
): void {
  if (!legend) return;
  const places = legend.getElementsByTagName("b");
  lines.forEach((line, number) => {
    const place = places[number];
    const value = index === null ? last(line.values) : line.values[index];
    if (place) place.textContent = amount(value, unit);
  });
}

function yRange(low: number | null, high: number | null, top: number | undefined): uPlot.Range.MinMax {
  const most = Math.max(high ?? 0, top ?? 0);
  const least = Math.min(0, low ?? 0);
  return [least, most <= 0 ? 1 : top !== undefined && most <= top ? top : most * 1.08];
}

interface Kind {
  readonly stacked: boolean;
  readonly before: boolean;
}

function seriesOf(lines: readonly Line[], { stacked, before }: Kind): uPlot.Series[] {
  const made = lines.map((line, index): uPlot.Series => {
    const colour = line.colour ?? lineColour(index);
    const fill = stacked ? colour : lines.length === 1 ? `${colour}22` : "";
    return {
      label: line.label,
      stroke: colour,
      width: stacked ? 0.5 : WIDTH_PX,
      spanGaps: false,
      points: { show: false },
      ...(fill && { fill }),
    };
  });
  if (stacked) made.reverse(); // the highest sum first, what lies below covers it
  if (!before) return made;
  const dashed = { dash: [4, 4], width: WIDTH_PX, spanGaps: false, points: { show: false } };
  const earlier = stacked
    ? [{ ...dashed, label: "before", stroke: fromPage("--text") }]
    : lines.map((line, index) => ({
        ...dashed,
        label: line.label,
        stroke: `${line.colour ?? lineColour(index)}99`,
      }));
  return [...made, ...earlier];
}

interface Given {
  readonly stacked: boolean;
  readonly before: Earlier | undefined;
  readonly beforeUpTo: number | undefined;
  readonly period: Period;
}

function aligned(
  times: readonly number[],
  lines: readonly Line[],
  { stacked, before, beforeUpTo, period }: Given,
): uPlot.AlignedData {
  const values = lines.map((line) => pad(line.values, times.length));
  const shown = stacked ? stack(values).reverse() : values.map((each) => [...each]);
  if (!before) return [[...times], ...shown];
  const span = period.to - period.from;
  const then = lines.map((line) => {
    const found = before.lines.find((each) => each.label === line.label);
    return shifted({ times: before.times, values: found?.values ?? [] }, times, span);
  });
  const earlier = stacked ? stack(then.slice(0, beforeUpTo)).slice(-1) : then;
  return [[...times], ...shown, ...earlier];
}

function pad(values: Line["values"], length: number): (number | null)[] {
  return Array.from({ length }, (_, index) => values[index] ?? null);
}
