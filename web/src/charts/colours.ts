// Colours that are told apart on white and on black, and by most people who see fewer of them.
export const LINES: readonly string[] = [
  "#3b82c4",
  "#d97f27",
  "#3f9e6b",
  "#c8524f",
  "#8a63c9",
  "#2a9d9d",
  "#c9619f",
  "#8c6d4f",
  "#b59a1f",
  "#7a8794",
];

export function lineColour(index: number): string {
  return LINES[index % LINES.length] ?? "#3b82c4";
}

export function fromPage(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// From calm to hot, 0 to 1: one hue that darkens (or lightens on black), then red.
const LIGHT = [
  [235, 241, 246],
  [150, 190, 215],
  [70, 130, 180],
  [217, 127, 39],
  [190, 40, 35],
] as const;
const DARK = [
  [30, 38, 46],
  [38, 74, 100],
  [59, 130, 196],
  [229, 150, 60],
  [255, 105, 95],
] as const;

export function heat(share: number, dark: boolean): string {
  const stops = dark ? DARK : LIGHT;
  const place = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
  const index = Math.floor(place);
  const rest = place - index;
  const from = stops[index] ?? stops[0];
  const to = stops[index + 1] ?? from;
  const mixed = from.map((value, i) => Math.round(value + ((to[i] ?? value) - value) * rest));
  return `rgb(${mixed.join(",")})`;
}
