import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { named } from "../../texts/texts";

interface Channel {
  readonly name: string;
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly secret: string | null;
  readonly enabled: boolean;
}

const PATH = "/api/v1/channels";

export function Channels() {
  const { t, session, say } = usePage();
  const [busy, setBusy] = useState("");
  const asked = useAsked<{ channels: readonly Channel[] }>(PATH);
  const test = async (name: string) => {
    setBusy(name);
    try {
      const path = `${PATH}/${encodeURIComponent(name)}/test`;
      const { outcome, error } = await ask<{ outcome: string; error: string | null }>(path, {
        method: "POST",
      });
      say(`${name}: ${named(t, "outcome", outcome)} ${error ?? ""}`, outcome === "sent" ? "done" : "failed");
    } catch (failure) {
      say((failure as Error).message, "failed");
    }
    setBusy("");
  };
  return (
    <Answer asked={asked}>
      {({ channels }) => (
        <>
          {channels.length === 0 && <p class="none">{t("channels.none")}</p>}
          <ul class="alerts">
            {channels.map((channel) => (
              <li key={channel.name}>
                <span class="badge">{channel.kind}</span>
                <div class="what">
                  <b>{channel.name}</b>
                  <span class="muted">
                    {Object.entries(channel.config)
                      .map(([name, value]) => `${name}: ${String(value)}`)
                      .join(", ")}{" "}
                    {channel.secret ?? ""} {channel.enabled ? "" : t("channels.off")}
                  </span>
                </div>
                {session.is_admin && (
                  <div class="actions">
                    <button
                      type="button"
                      disabled={busy !== ""}
                      onClick={() => void test(channel.name)}
                    >
                      {t(busy === channel.name ? "waiting" : "channels.test")}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
          <p class="inset muted">{t("channels.explained")}</p>
        </>
      )}
    </Answer>
  );
}
