// One row for each core, one column for each moment; the warmer, the busier.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { usePage } from "../context";
import { percent } from "../format";
import { SYNC, type View } from "./chart";
import { axes } from "./axes";
import { heat } from "./colours";
import { extent, last, medianStep, type Line } from "./data";
import { overlays } from "./overlays";

interface Props {
  readonly title: string;
  readonly view: View;
  readonly times: readonly number[];
  readonly lines: readonly Line[]; // one for each core
}

const ROW_PX = 19;
const AXIS_PX = 46;
const ROWS_MAX_PX = 260;

export function HeatMap({ title, view, times, lines }: Props) {
  const { t, dark } = usePage();
  const box = useRef<HTMLDivElement>(null);
  const told = useRef<HTMLSpanElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef({ view, times, lines });
  newest.current = { view, times, lines };
  const height = AXIS_PX + Math.min(ROWS_MAX_PX, Math.max(4, lines.length) * ROW_PX);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const tell = (u: uPlot) => {
      const { idx, top } = u.cursor;
      const core = top == null ? -1 : Math.floor(u.posToVal(top, "y"));
      const line = newest.current.lines[core];
      if (!told.current) return;
      told.current.textContent =
        line && idx != null ? `${line.label}: ${percent(line.values[idx] ?? null)}` : "";
    };
    const [x = {}, y = {}] = axes("1");
    const made = new uPlot(
      {
        width: element.clientWidth || 300,
        height,
        legend: { show: false },
        cursor: {
          sync: { key: SYNC },
          drag: { x: true, y: false, setScale: false },
          points: { show: false },
        },
        scales: {
          x: {
            time: true,
            auto: false,
            range: () => [newest.current.view.period.from, newest.current.view.period.to],
          },
          y: { auto: false, range: () => [0, Math.max(1, newest.current.lines.length)] },
        },
        axes: [x, { ...y, incrs: [1, 2, 4, 8, 16, 32], grid: { show: false } }],
        series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
        plugins: [
          { hooks: { draw: (u) => paint(u, newest.current.times, newest.current.lines, dark) } },
          overlays(() => ({ bands: [], marks: newest.current.view.marks })),
        ],
        hooks: {
          setCursor: [tell],
          setSelect: [
            (u) => {
              const { left, width } = u.select;
              if (width < 6) return;
              newest.current.view.onZoom({
                from: u.posToVal(left, "x"),
                to: u.posToVal(left + width, "x"),
              });
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
      },
      [[...times], times.map(() => null)],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [dark, height]);

  useEffect(() => {
    plot.current?.setData([[...times], times.map(() => null)], false);
    plot.current?.setScale("x", { min: view.period.from, max: view.period.to });
  }, [times, lines, view]);

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
  lines.forEach((line, core) => {
    const y = bbox.top + bbox.height - (core + 1) * rowHeight;
    line.values.forEach((value, index) => {
      const time = times[index];
      if (value === null || time === undefined) return;
      const left = Math.floor(u.valToPos(time, "x", true));
      const right = Math.ceil(u.valToPos(time + step, "x", true));
      if (right < bbox.left || left > bbox.left + bbox.width) return;
      ctx.fillStyle = heat(value / 100, dark);
      ctx.fillRect(left, y, Math.max(1, right - left), Math.max(1, rowHeight - 1));
    });
  });
  ctx.restore();
}
