export function Config() {
  return <p />;
}
