// What is drawn over all charts of a server alike: alerts as bands, events as marks.
import uPlot from "uplot";
import { fromPage } from "./colours";
import type { Band, Mark } from "./data";

const STRIP_PX = 3;
const ALPHA = 0.1;
const NEAR_PX = 6;

export interface Overlays {
  readonly bands: readonly Band[];
  readonly marks: readonly Mark[];
}

function within(u: uPlot, value: number): number {
  const { left, width } = u.bbox;
  return Math.min(left + width, Math.max(left, u.valToPos(value, "x", true)));
}

// Reads the overlays when it draws: they may change without a new chart.
export function overlays(read: () => Overlays): uPlot.Plugin {
  return {
    hooks: {
      setCursor: (u) => {
        const { left = -1 } = u.cursor;
        const near = read().marks.filter(
          (mark) => left >= 0 && Math.abs(u.valToPos(mark.time, "x") - left) <= NEAR_PX,
        );
        u.over.title = near.map((mark) => mark.text).join(", ");
      },
      drawClear: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        for (const band of read().bands) {
          const from = within(u, band.from);
          const to = within(u, band.to ?? Number.MAX_SAFE_INTEGER);
          if (to <= from) continue;
          ctx.fillStyle = fromPage(band.severity === "critical" ? "--critical" : "--warning");
          ctx.globalAlpha = ALPHA;
          ctx.fillRect(from, bbox.top, to - from, bbox.height);
          ctx.globalAlpha = 1;
          ctx.fillRect(from, bbox.top, to - from, STRIP_PX * uPlot.pxRatio);
        }
        ctx.restore();
      },
      draw: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.strokeStyle = fromPage("--text");
        ctx.fillStyle = fromPage("--text");
        ctx.setLineDash([3, 3]);
        for (const mark of read().marks) {
          const x = u.valToPos(mark.time, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          const size = 4 * uPlot.pxRatio;
          ctx.beginPath();
          ctx.moveTo(x - size, bbox.top);
          ctx.lineTo(x + size, bbox.top);
          ctx.lineTo(x, bbox.top + size * 1.5);
          ctx.fill();
        }
        ctx.restore();
      },
    },
  };
}
