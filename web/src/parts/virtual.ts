// Which rows of a long list are in sight: only those are drawn.
import { useEffect, useState } from "preact/hooks";
import type { RefObject } from "preact";

const SPARE_ROWS = 8;

export interface Slice {
  readonly first: number;
  readonly last: number; // the one after
}

export function useVisible(
  box: RefObject<HTMLElement | null>,
  rows: number,
  rowHeightPx: number,
): Slice {
  const [slice, setSlice] = useState<Slice>({ first: 0, last: Math.min(rows, 40) });
  useEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const top = box.current ? -box.current.getBoundingClientRect().top : 0;
      const first = Math.max(0, Math.floor(top / rowHeightPx) - SPARE_ROWS);
      const last = Math.min(rows, Math.ceil((top + innerHeight) / rowHeightPx) + SPARE_ROWS);
      setSlice((before) =>
        before.first === first && before.last === last ? before : { first, last },
      );
    };
    const soon = () => {
      frame ||= requestAnimationFrame(look);
    };
    look();
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, [box, rows, rowHeightPx]);
  return slice;
}

export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const listener = () => setMatches(media.matches);
    media.addEventListener("change", listener);
    return () => media.removeEventListener("change", listener);
  }, [query]);
  return matches;
}
