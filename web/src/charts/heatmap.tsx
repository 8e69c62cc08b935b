// One row for each core, one column for each moment; the warmer, the busier.
import { useMemo, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { usePage } from "../context";
import { percent } from "../format";
import { axes } from "./axes";
import type { View } from "./chart";
import { heat } from "./colours";
import { extent, last, medianStep, type Line } from "./data";
import { overlays } from "./overlays";
import { usePlot } from "./plot";

interface Props {
  readonly title: string;
  readonly view: View;
  readonly times: readonly number[] | undefined; // undefined: not there yet
  readonly lines: readonly Line[]; // one for each core
}

const ROW_PX = 19;
const AXIS_PX = 46;
const ROWS_MAX_PX = 260;

export function HeatMap(props: Props) {
  const { title, view, times, lines } = props;
  const { t, dark } = usePage();
  const told = useRef<HTMLSpanElement>(null);
  const newest = useRef(props);
  newest.current = props;
  const height = AXIS_PX + Math.min(ROWS_MAX_PX, Math.max(4, lines.length) * ROW_PX);
  const data = useMemo(
    (): uPlot.AlignedData | undefined => times && [[...times], times.map(() => null)],
    [times, lines],
  );
  const tell = (u: uPlot) => {
    const { idx, top } = u.cursor;
    const core = top == null ? -1 : Math.floor(u.posToVal(top, "y"));
    const line = newest.current.lines[core];
    if (!told.current) return;
    told.current.textContent =
      line && idx != null ? `${line.label}: ${percent(line.values[idx] ?? null)}` : "";
  };
  const { box } = usePlot({
    shape: String(dark),
    height,
    data,
    view,
    make: () => {
      const [x = {}, y = {}] = axes("1");
      return {
        scales: { y: { auto: false, range: () => [0, Math.max(1, newest.current.lines.length)] } },
        axes: [x, { ...y, incrs: [1, 2, 4, 8, 16, 32], grid: { show: false } }],
        series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
        plugins: [
          { hooks: { draw: (u) => paint(u, newest.current.times ?? [], newest.current.lines, dark) } },
          overlays(() => ({ bands: [], marks: newest.current.view.marks })),
        ],
      };
    },
    onCursor: tell,
  });

  const summary = lines
    .map((line) => `${line.label} ${percent(last(line.values))} (≤ ${percent(extent(line.values)?.[1])})`)
    .join("; ");
  return (
    <figure class="chart" aria-label={`${title}. ${summary || t("chart.none")}`}>
      <figcaption>
        <span class="title">{title}</span>
        <span class="told" ref={told} />
        <span class="scale" aria-hidden="true">
          0 %
          {[0, 0.25, 0.5, 0.75, 1].map((share) => (
            <i key={share} style={{ background: heat(share, dark) }} />
          ))}
          100 %
        </span>
      </figcaption>
      <div class="plot" ref={box} style={{ height: `${height}px` }} />
    </figure>
  );
}

function paint(u: uPlot, times: readonly number[], lines: readonly Line[], dark: boolean): void {
  const { ctx, bbox } = u;
  const step = medianStep(times);
  const rows = Math.max(1, lines.length);
  const rowHeight = bbox.height / rows;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  const edges = times.map((time) => [
    Math.floor(u.valToPos(time, "x", true)),
    Math.ceil(u.valToPos(time + step, "x", true)),
  ]);
  lines.forEach((line, core) => {
    const y = bbox.top + bbox.height - (core + 1) * rowHeight;
    line.values.forEach((value, index) => {
      const [left, right] = edges[index] ?? [];
      if (value === null || left === undefined || right === undefined) return;
      if (right < bbox.left || left > bbox.left + bbox.width) return;
      ctx.fillStyle = heat(value / 100, dark);
      ctx.fillRect(left, y, Math.max(1, right - left), Math.max(1, rowHeight - 1));
    });
  });
  ctx.restore();
}
