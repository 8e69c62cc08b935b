// Lists and pairs as a person writes them in a field.
export function pairs(text: FormDataEntryValue | null, between: string): [string, string][] {
  return String(text ?? "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const place = line.indexOf(between);
      const end = place < 0 ? line.length : place;
      return [line.slice(0, end).trim(), line.slice(end + 1).trim()];
    });
}

export function words(text: FormDataEntryValue | null): string[] {
  return String(text ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
}

// `mount=/, /var`, one label a line.
export function writeLabels(labels: Readonly<Record<string, unknown>>): string {
  return Object.entries(labels)
    .map(([name, values]) => `${name}=${[values].flat().join(", ")}`)
    .join("\n");
}
