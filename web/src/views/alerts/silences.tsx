import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { SilenceDialog } from "./silence_dialog";

interface Silence {
  readonly id: number;
  readonly rules: readonly string[];
  readonly servers: readonly string[];
  readonly server_labels: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly starts_at: string;
  readonly ends_at: string;
  readonly recurrence: { zone: string; on: readonly string[]; at: string; lasts_s: number } | null;
  readonly author: string;
  readonly reason: string;
  readonly mutes_now: boolean;
}

const EVERY_MS = 10_000;

export function Silences() {
  const { t, f, session, say } = usePage();
  const [adding, setAdding] = useState(false);
  const asked = useAsked<{ silences: readonly Silence[] }>("/api/v1/silences", EVERY_MS);
  const end = async (id: number) => {
    try {
      await ask(`/api/v1/silences/${id}`, { method: "DELETE" });
      say(t("silences.ended"));
    } catch (error) {
      say((error as Error).message, "failed");
    }
    asked.again();
  };
  const whom = (silence: Silence) =>
    [
      silence.rules.join(", ") || t("silences.all_rules"),
      silence.servers.join(", ") ||
        Object.entries(silence.server_labels)
          .map(([name, value]) => `${name}=${value}`)
          .join(", ") ||
        t("alerts.no_server"),
      Object.entries(silence.labels)
        .map(([name, values]) => `${name}=${values.join("|")}`)
        .join(", "),
    ]
      .filter(Boolean)
      .join(" · ");
  return (
    <>
      {session.is_admin && (
        <p class="inset">
          <button type="button" onClick={() => setAdding(true)}>
            {t("silences.add")}
          </button>
        </p>
      )}
      <Answer asked={asked}>
        {({ silences }) => (
          <>
            {silences.length === 0 && <p class="none">{t("silences.none")}</p>}
            <ul class="alerts">
              {silences.map((silence) => (
                <li key={silence.id}>
                  <span class={silence.mutes_now ? "badge badge-on" : "badge"}>
                    {silence.mutes_now ? t("silences.now") : t("silences.waits")}
                  </span>
                  <div class="what">
                    <b>{whom(silence)}</b>
                    <span class="muted">
                      {silence.recurrence
                        ? `${silence.recurrence.on.join(", ")} ${silence.recurrence.at} ${silence.recurrence.zone}, ${f.duration(silence.recurrence.lasts_s)}`
                        : t("silences.until", { time: f.dateTime(silence.ends_at) })}{" "}
                      · {silence.reason} · {silence.author}
                    </span>
                  </div>
                  {session.is_admin && (
                    <div class="actions">
                      <button type="button" onClick={() => void end(silence.id)}>
                        {t("silences.end")}
                      </button>
                    </div>
                  )}
                </li>
              ))}
            </ul>
          </>
        )}
      </Answer>
      {adding && (
        <SilenceDialog
          onClose={() => {
            setAdding(false);
            asked.again();
          }}
        />
      )}
    </>
  );
}
