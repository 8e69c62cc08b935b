import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { named } from "../../texts/texts";
import { ChannelDialog, PATH, type Channel } from "./channel_dialog";

export function Channels() {
  const { t, session, say } = usePage();
  const [busy, setBusy] = useState("");
  const [editing, setEditing] = useState<Channel | "new" | null>(null);
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
  const change = async ({ name }: Channel, method: "PUT" | "DELETE", text: string, body?: unknown) => {
    try {
      await ask(`${PATH}/${encodeURIComponent(name)}`, { method, body });
      say(text);
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
                <input
                  type="checkbox"
                  role="switch"
                  aria-label={t("channels.enable", { name: channel.name })}
                  checked={channel.enabled}
                  disabled={!session.is_admin}
                  onChange={() => {
                    const enabled = !channel.enabled;
                    const text = enabled ? "channels.is_on" : "channels.is_off";
                    void change(channel, "PUT", t(text, { name: channel.name }), { enabled });
                  }}
                />
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
                      aria-label={t("channels.change", { name: channel.name })}
                      onClick={() => setEditing(channel)}
                    >
                      {t("channels.edit")}
                    </button>
                    <button
                      type="button"
                      class="danger"
                      aria-label={`${t("channels.remove")} ${channel.name}`}
                      onClick={() => {
                        const text = t("channels.removed", { name: channel.name });
                        void change(channel, "DELETE", text);
                      }}
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
              <button type="button" onClick={() => setEditing("new")}>
                {t("channels.add")}
              </button>
            </p>
          )}
          {editing !== null && (
            <ChannelDialog
              channel={editing === "new" ? null : editing}
              onClose={() => setEditing(null)}
              onSaved={(name) => {
                setEditing(null);
                say(t(editing === "new" ? "channels.added" : "channels.changed", { name }));
                asked.again();
              }}
            />
          )}
        </>
      )}
    </Answer>
  );
}
