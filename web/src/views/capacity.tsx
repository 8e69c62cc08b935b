export function CapacityView(_: Readonly<Record<string, unknown>>) {
  return <p />;
}
