import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { ChannelDialog, PATH } from "./channel_dialog";
import { named } from "../../texts/texts";

interface Channel {
  readonly name: string;
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly secret: string | null;
  readonly enabled: boolean;
}

export function Channels() {
  const { t, session, say } = usePage();
  const [busy, setBusy] = useState("");
  const [adding, setAdding] = useState(false);
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
  const remove = async (name: string) => {
    try {
      await ask(`${PATH}/${encodeURIComponent(name)}`, { method: "DELETE" });
      say(t("channels.removed", { name }));
    } catch (failure) {
      say((failure as Error).message, "failed");
    }
    asked.again();
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
                      .map(([name, value]) => `${name}: ${[value].flat().join(", ")}`)
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
                    <button
                      type="button"
                      class="danger"
                      aria-label={`${t("channels.remove")} ${channel.name}`}
                      onClick={() => void remove(channel.name)}
                    >
                      {t("channels.remove")}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
          <p class="inset muted">{t("channels.explained")}</p>
          {session.is_admin && (
            <p class="inset">
              <button type="button" onClick={() => setAdding(true)}>
                {t("channels.add")}
              </button>
            </p>
          )}
          {adding && (
            <ChannelDialog
              onClose={() => setAdding(false)}
              onAdded={(name) => {
                setAdding(false);
                say(t("channels.added", { name }));
                asked.again();
              }}
            />
          )}
        </>
      )}
    </Answer>
  );
}
