// A new channel. Its secret goes to the gateway, which stores it encrypted and never shows it.
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

interface Props {
  readonly onClose: () => void;
  readonly onAdded: (name: string) => void;
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
  const secret = KINDS[kind].secret === null ? {} : { secret: given("secret") };
  return { name: given("name"), kind, config, ...secret };
}

export function ChannelDialog({ onClose, onAdded }: Props) {
  const { t } = usePage();
  const [kind, setKind] = useState<Kind>("email");
  const [error, setError] = useState("");
  const { settings, secret } = KINDS[kind];
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const body = read(new FormData(event.currentTarget as HTMLFormElement), kind);
    try {
      onAdded((await ask<{ name: string }>(PATH, { method: "POST", body })).name);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={t("channels.add")} onClose={onClose}>
      <form class="form" autocomplete="off" onSubmit={(event) => void submit(event)}>
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
        {settings.map((setting) => (
          <label key={`${kind} ${setting}`}>
            {t(`channels.${setting}`)}
            <input name={setting} required={setting === "to"} />
          </label>
        ))}
        {secret && (
          <label key={kind}>
            {t(secret)}
            <input name="secret" type="password" required maxLength={2000} autocomplete="off" />
            <span class="muted">{t("channels.secret_explained")}</span>
          </label>
        )}
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {t("channels.add")}
        </button>
      </form>
    </Dialog>
  );
}
