// A plot in a box: made once there is something to show and room for it, made anew when its shape
// changes, fed when its values do. All plots of a page share one cursor, and zoom where one drags.
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

export interface Period {
  readonly from: number; // seconds since 1970
  readonly to: number;
}

export interface Zooming {
  readonly period: Period;
  readonly onZoom: (period: Period) => void;
  readonly onZoomOut: () => void;
}

interface Given {
  readonly shape: string; // what can't be changed without a new plot
  readonly height: number;
  readonly data: uPlot.AlignedData | undefined; // undefined: not there yet
  readonly view: Zooming;
  readonly make: () => Pick<uPlot.Options, "scales" | "axes" | "series" | "plugins">;
  readonly onCursor: (plot: uPlot) => void;
}

const SYNC = "server";
const DRAG_MIN_PX = 6;

export interface Plot {
  readonly box: RefObject<HTMLDivElement | null>;
  readonly plot: RefObject<uPlot | null>;
}

export function usePlot(given: Given): Plot {
  const { shape, height, data, view } = given;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef(given);
  newest.current = given;
  const isThere = data !== undefined;

  useEffect(() => {
    const element = box.current;
    if (!element || !isThere) return;
    // The observer tells the width when the page has been laid out: to ask for it would lay it out.
    const observer = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width === 0) return;
      if (plot.current) plot.current.setSize({ width, height });
      else plot.current = made(element, width, newest);
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, height, isThere]);

  useEffect(() => {
    if (!plot.current || !data) return;
    plot.current.setData(data, false);
    plot.current.setScale("x", { min: view.period.from, max: view.period.to });
  }, [data, view]);
  return { box, plot };
}

function made(element: HTMLElement, width: number, newest: { readonly current: Given }): uPlot {
  const { height, data = [], make } = newest.current;
  const { scales, ...rest } = make();
  const options: uPlot.Options = {
    width,
    height,
    legend: { show: false },
    cursor: {
      sync: { key: SYNC },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: {
        dblclick: () => () => {
          newest.current.view.onZoomOut();
          return null;
        },
      },
    },
    scales: {
      x: {
        time: true,
        auto: false,
        range: () => [newest.current.view.period.from, newest.current.view.period.to],
      },
      ...scales,
    },
    hooks: {
      ready: [byTouch],
      setCursor: [(u) => newest.current.onCursor(u)],
      setSelect: [(u) => zoom(u, newest.current.view)],
    },
    ...rest,
  };
  return new uPlot(options, data, element);
}

function zoom(u: uPlot, view: Zooming): void {
  const { left, width } = u.select;
  if (width >= DRAG_MIN_PX) {
    view.onZoom({ from: u.posToVal(left, "x"), to: u.posToVal(left + width, "x") });
  }
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

// A finger that moves sideways chooses what to zoom into, as a drag of the mouse does; one that moves
// up or down scrolls the page (touch-action in the style sheet), and the browser says so.
function byTouch(u: uPlot): void {
  const { over } = u;
  let begin: number | null = null;
  const place = (event: PointerEvent) => {
    const { left, width } = over.getBoundingClientRect();
    return Math.min(width, Math.max(0, event.clientX - left));
  };
  const end = (isChosen: boolean) => {
    if (begin === null) return;
    begin = null;
    u.setSelect(isChosen ? u.select : { left: 0, top: 0, width: 0, height: 0 }, isChosen);
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") begin = place(event);
  });
  over.addEventListener("pointermove", (event) => {
    if (begin === null || event.pointerType !== "touch") return;
    const at = place(event);
    const height = over.clientHeight;
    u.setCursor({ left: at, top: height / 2 });
    u.setSelect(
      { left: Math.min(begin, at), width: Math.abs(at - begin), top: 0, height },
      false,
    );
  });
  over.addEventListener("pointerup", () => end(true));
  over.addEventListener("pointercancel", () => end(false));
}
