import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { Dialog } from "../../parts/dialog";
import { pairs, words, writeLabels } from "../../parts/written";
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
  readonly labels?: Readonly<Record<string, unknown>>;
  readonly onClose: () => void;
}

export function SilenceDialog({ rule, server, labels, onClose }: Props) {
  const { t, say } = usePage();
  const [error, setError] = useState("");
  const [hours, setHours] = useState("1");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const until = String(form.get("until") ?? "");
    const ends = new Date(until || Date.now() + Number(form.get("hours")) * HOUR_MS);
    const starts = String(form.get("start") ?? "");
    const serverLabels = pairs(form.get("server_labels"), "=");
    const series = pairs(form.get("labels"), "=").map(([name, values]) => [name, words(values)]);
    try {
      await ask("/api/v1/silences", {
        method: "POST",
        body: {
          rules: words(form.get("rules")),
          servers: words(form.get("servers")),
          ...(serverLabels.length && { server_labels: Object.fromEntries(serverLabels) }),
          ...(series.length && { labels: Object.fromEntries(series) }),
          ...(starts && { starts_at: new Date(starts).toISOString() }),
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
          {t("silences.server_labels")}
          <textarea name="server_labels" rows={1} placeholder="env=prod" />
        </label>
        <label>
          {t("silences.labels")}
          <textarea
            name="labels"
            rows={1}
            placeholder="mount=/, /var"
            defaultValue={writeLabels(labels ?? {})}
          />
        </label>
        <label>
          {t("silences.start")}
          <input name="start" type="datetime-local" />
        </label>
        <label>
          {t("silences.for")}
          <select name="hours" value={hours} onChange={(event) => setHours(event.currentTarget.value)}>
            {HOURS.map(([each, key]) => (
              <option key={each} value={each}>
                {t(key)}
              </option>
            ))}
            <option value="">{t("silences.until_when")}</option>
          </select>
        </label>
        {hours === "" && (
          <label>
            {t("silences.end_at")}
            <input name="until" type="datetime-local" required />
          </label>
        )}
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
