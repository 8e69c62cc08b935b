// What every part of the page may need: words, numbers, who is signed in, light or dark.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Formats } from "./format";
import type { Language, Translate } from "./texts/texts";

export interface Session {
  readonly key: string;
  readonly role: string;
  readonly is_admin: boolean;
}

export interface Page {
  readonly t: Translate;
  readonly f: Formats;
  readonly language: Language;
  readonly dark: boolean;
  readonly session: Session;
  readonly say: (text: string, kind?: "done" | "failed") => void;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("usePage is for parts inside of a PageContext");
  return page;
}
