// Sign in: with the one-time link that brought us here, or with a key.
import { useState } from "preact/hooks";
import { ask } from "../http";
import { LanguageChoice } from "../parts/frame";
import { go, href } from "../router";
import type { Translate } from "../texts/texts";

interface Props {
  readonly t: Translate;
  readonly link: string | undefined;
  readonly onSignedIn: () => Promise<void>;
}

export function SignInView({ t, link, onSignedIn }: Props) {
  const [key, setKey] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);

  const signIn = async (body: { link: string } | { key: string }) => {
    setBusy(true);
    setError("");
    try {
      await ask("/api/v1/session", { method: "POST", body });
      if ("link" in body) go(href([]), { replace: true });
      await onSignedIn();
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="sign-in">
      <img src="/favicon.svg" alt="" width="48" height="48" />
      <h1>{t("sign_in.title")}</h1>
      {link !== undefined && (
        <section class="card">
          <p>{t("sign_in.link_explained")}</p>
          <button
            type="button"
            class="main"
            disabled={busy}
            autofocus
            onClick={() => void signIn({ link })}
          >
            {t("sign_in.with_link")}
          </button>
        </section>
      )}
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void signIn({ key: key.trim() });
        }}
      >
        <label>
          {t("sign_in.key")}
          <input
            type="password"
            name="key"
            autocomplete="current-password"
            spellcheck={false}
            placeholder="hp_…"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <p class="hint">{t("sign_in.key_explained")}</p>
        <button type="submit" class={link === undefined ? "main" : ""} disabled={busy}>
          {t("sign_in.with_key")}
        </button>
      </form>
      <p class="error" role="alert">
        {error}
      </p>
      <LanguageChoice />
    </main>
  );
}
