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

// A colour of the style sheet. To ask for one may make the browser work out all styles anew, so
// each is asked for once in a theme.
const known = new Map<string, string>();
let knownTheme: string | undefined;

export function fromPage(name: string): string {
  const root = document.documentElement;
  if (root.dataset["theme"] !== knownTheme) {
    known.clear();
    knownTheme = root.dataset["theme"];
  }
  let value = known.get(name);
  if (value === undefined) {
    value = getComputedStyle(root).getPropertyValue(name).trim();
    known.set(name, value);
  }
  return value;
}

// From calm to hot, 0 to 1: lighter or darker all the way, so that it can be told in grey too.
const LIGHT = [
  [247, 245, 240],
  [250, 219, 148],
  [244, 153, 72],
  [208, 72, 50],
  [116, 16, 44],
] as const;
const DARK = [
  [28, 34, 44],
  [82, 38, 96],
  [170, 58, 92],
  [236, 120, 62],
  [252, 222, 130],
] as const;
const STEPS = 64;
const palettes = new Map<boolean, readonly string[]>();

export function heat(share: number, dark: boolean): string {
  let palette = palettes.get(dark);
  if (palette === undefined) {
    palette = Array.from({ length: STEPS }, (_, step) => mixed(step / (STEPS - 1), dark));
    palettes.set(dark, palette);
  }
  const step = Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1));
  return palette[step] ?? "";
}

function mixed(share: number, dark: boolean): string {
  const stops = dark ? DARK : LIGHT;
  const place = Math.min(0.9999, share) * (stops.length - 1);
  const index = Math.floor(place);
  const rest = place - index;
  const from = stops[index] ?? stops[0];
  const to = stops[index + 1] ?? from;
  return `rgb(${from.map((value, i) => Math.round(value + ((to[i] ?? value) - value) * rest)).join(",")})`;
}
