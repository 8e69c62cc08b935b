// A channel, new or changed. Its secret goes to the gateway, which stores it encrypted and never
// shows it: left empty, it stays as it is.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { Dialog } from "../../parts/dialog";
import type { Key } from "../../texts/texts";

export const PATH = "/api/v1/channels";

// What each kind asks for besides its name: its settings, and what its secret is.
const KINDS = {
  email: { settings: ["to", "from"], secret: null },
  discord: { settings: [], secret: "channels.secret_url" },
  slack: { settings: ["channel"], secret: "channels.secret_slack" },
  pagerduty: { settings: [], secret: "channels.secret_pagerduty" },
  webhook: { settings: [], secret: "channels.secret_webhook" },
} as const satisfies Readonly<
  Record<string, { readonly settings: readonly string[]; readonly secret: Key | null }>
>;
type Kind = keyof typeof KINDS;

export interface Channel {
  readonly name: string;
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly secret: string | null;
  readonly enabled: boolean;
}

interface Props {
  readonly channel: Channel | null; // null: a new one
  readonly onClose: () => void;
  readonly onSaved: (name: string) => void;
}

function read(form: FormData, kind: Kind): Readonly<Record<string, unknown>> {
  const given = (name: string) => String(form.get(name) ?? "").trim();
  const config: Record<string, unknown> = {};
  for (const setting of KINDS[kind].settings) {
    if (given(setting) === "") continue;
    config[setting] =
      setting === "to"
        ? given(setting)
            .split(",")
            .map((each) => each.trim())
            .filter(Boolean)
        : given(setting);
  }
  const secret = given("secret") === "" ? {} : { secret: given("secret") };
  return { config, ...secret };
}

export function ChannelDialog({ channel, onClose, onSaved }: Props) {
  const { t } = usePage();
  const [kind, setKind] = useState<Kind>((channel?.kind ?? "email") as Kind);
  const [error, setError] = useState("");
  const title = channel ? t("channels.change", { name: channel.name }) : t("channels.add");
  const { settings, secret } = KINDS[kind];
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const said = read(form, kind);
    const [method, path, body] = channel
      ? (["PUT", `${PATH}/${encodeURIComponent(channel.name)}`, said] as const)
      : (["POST", PATH, { name: String(form.get("name")).trim(), kind, ...said }] as const);
    try {
      onSaved((await ask<{ name: string }>(path, { method, body })).name);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="form" autocomplete="off" onSubmit={(event) => void submit(event)}>
        {channel === null && (
          <>
            <label>
              {t("channels.kind")}
              <select value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
                {(Object.keys(KINDS) as Kind[]).map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            </label>
            <label>
              {t("channels.name")}
              <input name="name" required maxLength={63} pattern="[A-Za-z0-9][A-Za-z0-9_.\-]*" />
            </label>
          </>
        )}
        {settings.map((setting) => (
          <label key={`${kind} ${setting}`}>
            {t(`channels.${setting}`)}
            <input
              name={setting}
              required={setting === "to"}
              defaultValue={[channel?.config[setting] ?? ""].flat().join(", ")}
            />
          </label>
        ))}
        {secret && (
          <label key={kind}>
            {t(secret)}
            <input
              name="secret"
              type="password"
              required={channel === null}
              maxLength={2000}
              autocomplete="off"
            />
            <span class="muted">
              {t("channels.secret_explained")} {channel && t("channels.secret_kept")}
            </span>
          </label>
        )}
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {channel ? t("channels.save") : t("channels.add")}
        </button>
      </form>
    </Dialog>
  );
}
