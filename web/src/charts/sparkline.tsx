// A line of half an hour, as wide as a word. Gaps are gaps.
const WIDTH = 96;
const HEIGHT = 24;

interface Props {
  readonly values: readonly (number | null)[] | undefined;
  readonly max?: number;
}

export function Sparkline({ values, max = 100 }: Props) {
  if (!values?.length) return <span class="sparkline" />;
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <path d={trace(values, max)} />
    </svg>
  );
}

export function trace(values: readonly (number | null)[], max: number): string {
  const step = WIDTH / Math.max(1, values.length - 1);
  let path = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (value === null) {
      drawing = false;
      return;
    }
    const y = HEIGHT - 1 - (Math.min(value, max) / max) * (HEIGHT - 2);
    path += `${drawing ? "L" : "M"}${(index * step).toFixed(1)} ${y.toFixed(1)}`;
    drawing = true;
  });
  return path;
}
