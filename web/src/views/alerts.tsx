export function AlertsView(_: Readonly<Record<string, unknown>>) {
  return <p />;
}
