// All words of the page, in two languages with the same keys (a test compares them).
import en from "./en.json";
import ko from "./ko.json";
import { useStored } from "../stored";

export type Key = keyof typeof en;
export type Language = "en" | "ko";
export type Values = Readonly<Record<string, string | number>>;
export type Translate = (key: Key, values?: Values) => string;

const DICTIONARIES: Readonly<Record<Language, Readonly<Record<Key, string>>>> = { en, ko };

function preferred(): Language {
  return navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
}

export function useLanguage(): [Language, (language: Language) => void] {
  const [stored, store] = useStored("hostpulse.language", preferred());
  return [stored === "ko" ? "ko" : "en", store];
}

export function translator(language: Language): Translate {
  const words = DICTIONARIES[language];
  return (key, values = {}) =>
    words[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

// For keys that are made of data: a state, a unit. What is not in the dictionary is shown as it is.
export function named(t: Translate, prefix: string, name: string): string {
  const key = `${prefix}.${name}`;
  return key in en ? t(key as Key) : name.replaceAll("_", " ");
}
