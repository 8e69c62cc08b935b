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
const UNTIL = "until";
const AGAIN = "again";
const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

// How long, in the words of the API: up to a moment, or again and again.
function span(form: FormData): object {
  const text = (name: string) => String(form.get(name) ?? "").trim();
  const kind = text("span");
  if (kind === AGAIN) {
    const recurrence = { zone: text("zone"), on: text("on"), at: text("at"), lasts: text("lasts") };
    return { recurrence };
  }
  const ends = new Date(kind === UNTIL ? text("until") : Date.now() + Number(kind) * HOUR_MS);
  return { ends_at: ends.toISOString() };
}

interface Props {
  readonly rule?: string;
  readonly server?: string | null;
  readonly labels?: Readonly<Record<string, unknown>>;
  readonly onClose: () => void;
}

export function SilenceDialog({ rule, server, labels, onClose }: Props) {
  const { t, say } = usePage();
  const [error, setError] = useState("");
  const [kind, setKind] = useState("1");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
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
          ...span(form),
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
          <select name="span" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            {HOURS.map(([each, key]) => (
              <option key={each} value={each}>
                {t(key)}
              </option>
            ))}
            <option value={UNTIL}>{t("silences.until_when")}</option>
            <option value={AGAIN}>{t("silences.again")}</option>
          </select>
        </label>
        {kind === AGAIN && <Recurrence />}
        {kind === UNTIL && (
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

function Recurrence() {
  const { t } = usePage();
  return (
    <>
      <label>
        {t("silences.on")}
        <input name="on" required defaultValue="daily" placeholder="mon-fri, sun" />
      </label>
      <label>
        {t("silences.at")}
        <input name="at" type="time" required defaultValue="22:00" />
      </label>
      <label>
        {t("silences.lasts")}
        <input name="lasts" required defaultValue="2h" pattern="[0-9]+[smhd]?" />
      </label>
      <label>
        {t("silences.zone")}
        <input name="zone" required defaultValue={ZONE} />
      </label>
    </>
  );
}
