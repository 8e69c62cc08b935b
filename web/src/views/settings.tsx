export function SettingsView(_: Readonly<Record<string, unknown>>) {
  return <p />;
}
