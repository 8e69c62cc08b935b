export function ServerView(_: Readonly<Record<string, unknown>>) {
  return <p />;
}
