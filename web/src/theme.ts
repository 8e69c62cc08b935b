// Light or dark: as the system has it, or as it was chosen here.
import { useEffect, useState } from "preact/hooks";
import { useStored } from "./stored";

export type Choice = "system" | "light" | "dark";

const DARK = matchMedia("(prefers-color-scheme: dark)");

export function useTheme(): { choice: Choice; dark: boolean; choose: (choice: Choice) => void } {
  const [stored, store] = useStored("hostpulse.theme", "system");
  const [system, setSystem] = useState(DARK.matches);
  useEffect(() => {
    const listener = () => setSystem(DARK.matches);
    DARK.addEventListener("change", listener);
    return () => DARK.removeEventListener("change", listener);
  }, []);
  const choice: Choice = stored === "light" || stored === "dark" ? stored : "system";
  const dark = choice === "system" ? system : choice === "dark";
  useEffect(() => {
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  }, [dark]);
  return { choice, dark, choose: store };
}
