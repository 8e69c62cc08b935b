// Settings: who may do what, who did what, where messages go, how the database does.
import { usePage } from "../context";
import { Tabs } from "../parts/tabs";
import { Audit } from "./settings/audit";
import { Channels } from "./settings/channels";
import { Config } from "./settings/config";
import { Database } from "./settings/database";
import { Enrollments } from "./settings/enrollments";
import { Keys } from "./settings/keys";

const SECTIONS = {
  keys: Keys,
  enrollments: Enrollments,
  channels: Channels,
  config: Config,
  audit: Audit,
  database: Database,
} as const;
type Section = keyof typeof SECTIONS;

export function SettingsView({ section = "keys" }: { readonly section?: string | undefined }) {
  const { t } = usePage();
  const current: Section = section in SECTIONS ? (section as Section) : "keys";
  const Body = SECTIONS[current];
  const tabs = (Object.keys(SECTIONS) as Section[]).map((name) => ({
    name,
    label: t(`settings.${name}`),
  }));
  return (
    <section class="card" aria-labelledby="settings">
      <div class="bar">
        <h1 id="settings">{t("nav.settings")}</h1>
        <Tabs view="settings" tabs={tabs} current={current} label={t("nav.settings")} />
        <a href="/docs" target="_blank" rel="noopener">
          {t("settings.api")}
        </a>
      </div>
      <Body />
    </section>
  );
}
