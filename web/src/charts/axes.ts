// Axes that read well: time of 24 hours, sizes in powers of 1024.
import type uPlot from "uplot";
import { amount } from "../format";
import { fromPage } from "./colours";

const DAY_S = 86_400;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const Y_WIDTH_PX = 64;
const X_HEIGHT_PX = 28;

function two(value: number): string {
  return String(value).padStart(2, "0");
}

export function moment(seconds: number, step: number): string {
  const date = new Date(seconds * 1000);
  const day = `${date.getMonth() + 1}/${date.getDate()}`;
  if (step >= DAY_S) return day;
  const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (midnight) return day;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return step < 60 ? `${time}:${two(date.getSeconds())}` : time;
}

function binarySteps(): number[] {
  const steps: number[] = [];
  for (let power = 0; power < 60; power += 1) steps.push(2 ** power);
  return steps;
}

export function axes(unit: string): uPlot.Axis[] {
  const common = {
    font: FONT,
    stroke: fromPage("--muted"),
    grid: { stroke: fromPage("--line"), width: 1 },
    ticks: { stroke: fromPage("--line"), width: 1, size: 4 },
  };
  const y: uPlot.Axis = {
    ...common,
    size: Y_WIDTH_PX,
    space: 26,
    values: (_, splits) => splits.map((value) => amount(value, unit)),
  };
  if (unit === "bytes") y.incrs = binarySteps();
  return [
    {
      ...common,
      space: 64,
      size: X_HEIGHT_PX,
      values: (_, splits, __, ___, step) => splits.map((value) => moment(value, step)),
    },
    y,
  ];
}
