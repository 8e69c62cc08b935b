import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { Dialog } from "../../parts/dialog";

interface Key {
  readonly prefix: string;
  readonly role: string;
  readonly server_names: readonly string[];
  readonly note: string | null;
  readonly created_at: string;
  readonly created_by: string;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
  readonly revoked_at: string | null;
}

const PATH = "/api/v1/keys";
const ROLES = ["agent", "reader", "writer", "admin"] as const;
const BOUND: readonly string[] = ["agent", "writer"];

export function Keys() {
  const { t, f, say } = usePage();
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<string | null>(null);
  const asked = useAsked<{ keys: readonly Key[] }>(PATH);
  const change = async (prefix: string, what: "rotate" | "revoke") => {
    try {
      if (what === "revoke") {
        await ask(`${PATH}/${prefix}`, { method: "DELETE" });
        say(t("keys.revoked"));
      } else {
        const body = { grace: "1h" };
        const answer = await ask<{ key: string }>(`${PATH}/${prefix}/rotate`, {
          method: "POST",
          body,
        });
        setMade(answer.key);
      }
    } catch (error) {
      say((error as Error).message, "failed");
    }
    asked.again();
  };
  const stateOf = (key: Key) =>
    key.revoked_at
      ? t("keys.state_revoked")
      : key.expires_at && new Date(key.expires_at).getTime() < Date.now()
        ? t("keys.state_expired")
        : key.expires_at
          ? t("keys.state_until", { time: f.dateTime(key.expires_at) })
          : t("keys.state_good");
  return (
    <Answer asked={asked}>
      {({ keys }) => (
        <>
          <p class="inset">
            <button type="button" onClick={() => setMaking(true)}>
              {t("keys.make")}
            </button>
          </p>
          <div class="scroll" tabIndex={0} role="region" aria-label={t("settings.keys")}>
            <table class="dense">
              <thead>
                <tr>
                  <th scope="col">{t("keys.prefix")}</th>
                  <th scope="col">{t("keys.role")}</th>
                  <th scope="col">{t("overview.servers")}</th>
                  <th scope="col">{t("keys.note")}</th>
                  <th scope="col">{t("keys.last_used")}</th>
                  <th scope="col">{t("overview.state")}</th>
                  <th scope="col">
                    <span class="hidden">{t("keys.actions")}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {keys.map((key) => (
                  <tr key={key.prefix} class={key.revoked_at ? "off" : ""}>
                    <td>
                      <code>{key.prefix}</code>
                    </td>
                    <td>{key.role}</td>
                    <td>{key.server_names.join(", ")}</td>
                    <td>{key.note ?? ""}</td>
                    <td data-name={t("keys.last_used")}>{f.ago(key.last_used_at)}</td>
                    <td>{stateOf(key)}</td>
                    <td class="actions">
                      {!key.revoked_at && (
                        <>
                          <button
                            type="button"
                            class="quiet"
                            aria-label={`${t("keys.rotate")} ${key.prefix}`}
                            onClick={() => void change(key.prefix, "rotate")}
                          >
                            {t("keys.rotate")}
                          </button>
                          <button
                            type="button"
                            class="quiet danger"
                            aria-label={`${t("keys.revoke")} ${key.prefix}`}
                            onClick={() => void change(key.prefix, "revoke")}
                          >
                            {t("keys.revoke")}
                          </button>
                        </>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {making && (
            <MakeKey
              onClose={() => setMaking(false)}
              onMade={(key) => {
                setMaking(false);
                setMade(key);
                asked.again();
              }}
            />
          )}
          {made !== null && (
            <Dialog title={t("keys.made")} onClose={() => setMade(null)}>
              <p>{t("keys.made_explained")}</p>
              <pre class="secret" tabIndex={0}>
                {made}
              </pre>
            </Dialog>
          )}
        </>
      )}
    </Answer>
  );
}

interface MakeProps {
  readonly onClose: () => void;
  readonly onMade: (key: string) => void;
}

function MakeKey({ onClose, onMade }: MakeProps) {
  const { t } = usePage();
  const [role, setRole] = useState<string>("agent");
  const [error, setError] = useState("");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const servers = String(form.get("servers") ?? "")
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean);
    try {
      const note = String(form.get("note") ?? "") || null;
      const body = { role, servers: BOUND.includes(role) ? servers : [], note };
      onMade((await ask<{ key: string }>(PATH, { method: "POST", body })).key);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={t("keys.make")} onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        <label>
          {t("keys.role")}
          <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            {ROLES.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        {BOUND.includes(role) && (
          <label>
            {t("keys.servers")}
            <input name="servers" required />
          </label>
        )}
        <label>
          {t("keys.note")}
          <input name="note" maxLength={200} />
        </label>
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {t("keys.make")}
        </button>
      </form>
    </Dialog>
  );
}
