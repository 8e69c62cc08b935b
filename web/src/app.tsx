// The frame: who is signed in, where we are, and what is always in sight.
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { PageContext, type Page, type Session } from "./context";
import * as fleet from "./fleet";
import { Formats } from "./format";
import { ask, Failure, whenSignedOut } from "./http";
import { Frame } from "./parts/frame";
import { useRoute, type Route } from "./router";
import { translator, useLanguage } from "./texts/texts";
import { useTheme } from "./theme";
import { AlertsView } from "./views/alerts";
import { CapacityView } from "./views/capacity";
import { OverviewView } from "./views/overview";
import { RulesView } from "./views/rules";
import { ServerView } from "./views/server";
import { SettingsView } from "./views/settings";
import { SignInView } from "./views/sign_in";

type Known = Session | "unknown" | "nobody";

const SAID_FOR_MS = 5000;

export function App() {
  const route = useRoute();
  const [language] = useLanguage();
  const { dark } = useTheme();
  const [who, setWho] = useState<Known>("unknown");
  const [said, setSaid] = useState<{ text: string; kind: string } | null>(null);
  const t = useMemo(() => translator(language), [language]);
  const f = useMemo(() => new Formats(language, t), [language, t]);

  const look = useCallback(async () => {
    try {
      const session = await ask<Session & { signed_in: boolean }>("/api/v1/session");
      setWho(session.signed_in ? session : "nobody");
    } catch (error) {
      setWho("nobody");
      if (error instanceof Failure) setSaid({ text: error.message, kind: "failed" });
    }
  }, []);

  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    whenSignedOut(() => setWho("nobody"));
    void look();
  }, [look]);
  useEffect(() => {
    if (who === "unknown" || who === "nobody") fleet.end();
    else fleet.start();
  }, [who]);
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => setSaid(null), SAID_FOR_MS);
    return () => clearTimeout(timer);
  }, [said]);

  const link = route.path[0] === "sign-in" ? route.path[1] : undefined;
  if (who === "unknown") return null;
  if (who === "nobody" || link !== undefined) {
    return <SignInView t={t} link={link} onSignedIn={look} />;
  }
  const page: Page = {
    t,
    f,
    language,
    dark,
    session: who,
    say: (text, kind = "done") => setSaid({ text, kind }),
  };
  return (
    <PageContext.Provider value={page}>
      <Frame route={route} onSignedOut={() => setWho("nobody")}>
        <View route={route} />
      </Frame>
      <div class="said" role="status" aria-live="polite">
        {said && <p class={`said-${said.kind}`}>{said.text}</p>}
      </div>
    </PageContext.Provider>
  );
}

function View({ route }: { readonly route: Route }) {
  const [view = "", name] = route.path;
  switch (view) {
    case "server":
      return name ? <ServerView key={name} name={name} query={route.query} /> : <OverviewView />;
    case "capacity":
      return <CapacityView />;
    case "alerts":
      return <AlertsView id={name} />;
    case "rules":
      return <RulesView name={name} />;
    case "settings":
      return <SettingsView section={name} />;
    default:
      return <OverviewView />;
  }
}
