export function RulesView(_: Readonly<Record<string, unknown>>) {
  return <p />;
}
