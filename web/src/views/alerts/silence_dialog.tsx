import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { Dialog } from "../../parts/dialog";
import type { Key } from "../../texts/texts";

const HOURS: readonly (readonly [number, Key])[] = [
  [1, "silences.1h"],
  [4, "silences.4h"],
  [24, "silences.1d"],
  [168, "silences.7d"],
];
const HOUR_MS = 3_600_000;

interface Props {
  readonly rule?: string;
  readonly server?: string | null;
  readonly onClose: () => void;
}

function list(text: FormDataEntryValue | null): string[] {
  return String(text ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
}

export function SilenceDialog({ rule, server, onClose }: Props) {
  const { t, say } = usePage();
  const [error, setError] = useState("");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const ends = new Date(Date.now() + Number(form.get("hours")) * HOUR_MS);
    try {
      await ask("/api/v1/silences", {
        method: "POST",
        body: {
          rules: list(form.get("rules")),
          servers: list(form.get("servers")),
          ends_at: ends.toISOString(),
          reason: String(form.get("reason") ?? ""),
        },
      });
      say(t("silences.added"));
      onClose();
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={t("silences.add")} onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        <label>
          {t("silences.rules")}
          <input name="rules" defaultValue={rule ?? ""} />
        </label>
        <label>
          {t("silences.servers")}
          <input name="servers" defaultValue={server ?? ""} />
        </label>
        <label>
          {t("silences.for")}
          <select name="hours">
            {HOURS.map(([hours, key]) => (
              <option key={hours} value={hours}>
                {t(key)}
              </option>
            ))}
          </select>
        </label>
        <label>
          {t("silences.reason")}
          <input name="reason" required maxLength={200} />
        </label>
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {t("silences.add")}
        </button>
      </form>
    </Dialog>
  );
}
