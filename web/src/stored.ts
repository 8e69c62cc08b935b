// A choice that this browser remembers, shared by all who use it.
import { useEffect, useState } from "preact/hooks";

const listeners = new Map<string, Set<(value: string) => void>>();

export function useStored(name: string, initial: string): [string, (value: string) => void] {
  const [value, setValue] = useState(() => localStorage.getItem(name) ?? initial);
  useEffect(() => {
    const mine = listeners.get(name) ?? new Set();
    listeners.set(name, mine.add(setValue));
    return () => void mine.delete(setValue);
  }, [name]);
  const store = (next: string) => {
    localStorage.setItem(name, next);
    for (const listener of listeners.get(name) ?? []) listener(next);
  };
  return [value, store];
}
