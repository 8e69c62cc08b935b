// Alerts: what is on, what was, why, and what is kept quiet.
import { usePage } from "../context";
import { Tabs } from "../parts/tabs";
import { AlertDetail } from "./alerts/detail";
import { AlertHistory } from "./alerts/history";
import { OpenAlerts } from "./alerts/open";
import { Silences } from "./alerts/silences";

export function AlertsView({ id = "" }: { readonly id?: string | undefined }) {
  const { t } = usePage();
  if (/^\d+$/.test(id)) return <AlertDetail key={id} id={id} />;
  const tabs = [
    { name: "", label: t("alerts.open") },
    { name: "history", label: t("alerts.history") },
    { name: "silences", label: t("silences.title") },
  ];
  return (
    <section class="card" aria-labelledby="alerts">
      <div class="bar">
        <h1 id="alerts">{t("nav.alerts")}</h1>
        <Tabs view="alerts" tabs={tabs} current={id} label={t("alerts.parts")} />
      </div>
      {id === "history" ? <AlertHistory /> : id === "silences" ? <Silences /> : <OpenAlerts />}
    </section>
  );
}
