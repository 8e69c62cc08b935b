// Head of the page, navigation, main part.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { usePage } from "../context";
import { useFleet } from "../fleet";
import { ask } from "../http";
import { href, type Route } from "../router";
import { useLanguage, type Key } from "../texts/texts";
import { useTheme } from "../theme";

const VIEWS: readonly (readonly [string, Key])[] = [
  ["", "nav.overview"],
  ["alerts", "nav.alerts"],
  ["rules", "nav.rules"],
  ["capacity", "nav.capacity"],
  ["settings", "nav.settings"],
];

interface Props {
  readonly route: Route;
  readonly onSignedOut: () => void;
  readonly children: ComponentChildren;
}

export function Frame({ route, onSignedOut, children }: Props) {
  const { t } = usePage();
  const { fleet, link } = useFleet();
  const main = useRef<HTMLElement>(null);
  const view = route.path[0] === "server" ? "" : (route.path[0] ?? "");
  const unacknowledged = fleet?.summary.unacknowledged ?? 0;
  const place = route.path.slice(0, 2).join("/");
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true }); // a screen reader begins where the new view does
  }, [place]);

  const signOut = async () => {
    await ask("/api/v1/session", { method: "DELETE" }).catch(() => undefined);
    onSignedOut();
  };
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => skip(event, main.current)}>
        {t("nav.skip")}
      </a>
      <header class="head">
        <a class="brand" href={href([])}>
          <img src="/favicon.svg" alt="" width="24" height="24" />
          <span>hostpulse</span>
        </a>
        <nav aria-label={t("nav.label")}>
          <ul>
            {VIEWS.map(([name, key]) => (
              <li key={name}>
                <a href={href(name ? [name] : [])} aria-current={view === name ? "page" : undefined}>
                  {t(key)}
                  {name === "alerts" && unacknowledged > 0 && (
                    <span class="count" title={t("alerts.unacknowledged", { n: unacknowledged })}>
                      {unacknowledged}
                    </span>
                  )}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="tools">
          <span class={`link link-${link}`} role="status">
            <span class="dot" aria-hidden="true" />
            {t(`link.${link}`)}
          </span>
          <LanguageChoice />
          <ThemeChoice />
          <button type="button" class="quiet" onClick={signOut}>
            {t("session.sign_out")}
          </button>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

function skip(event: Event, main: HTMLElement | null): void {
  event.preventDefault(); // the part behind # is where we are
  main?.focus();
}

export function LanguageChoice() {
  const [language, setLanguage] = useLanguage();
  const other = language === "en" ? "ko" : "en";
  return (
    <button type="button" class="quiet" lang={other} onClick={() => setLanguage(other)}>
      {other === "ko" ? "한국어" : "English"}
    </button>
  );
}

function ThemeChoice() {
  const { t } = usePage();
  const { dark, choose } = useTheme();
  const label = dark ? t("theme.to_light") : t("theme.to_dark");
  return (
    <button
      type="button"
      class="quiet icon"
      aria-label={label}
      title={label}
      onClick={() => choose(dark ? "light" : "dark")}
    >
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.5" />
        <path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" />
      </svg>
    </button>
  );
}
