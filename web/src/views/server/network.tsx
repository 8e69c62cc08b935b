import type { View } from "../../charts/chart";
import { column } from "../../charts/data";
import { usePage } from "../../context";
import { FamilyChart, lineForEach, type Lines } from "./family_chart";
import { COLUMNS, useHistory, useViewOf, type Source } from "./source";

const TRAFFIC = lineForEach(
  "interface",
  ["network.in", "rx_bytes_per_s"],
  ["network.out", "tx_bytes_per_s"],
);
const LOSS = lineForEach("interface", [null, "packet_loss_percent"]);
const ERRORS = lineForEach(
  "interface",
  ["network.in_errors", "rx_errors_per_s"],
  ["network.out_errors", "tx_errors_per_s"],
  ["network.in_drops", "rx_drops_per_s"],
  ["network.out_drops", "tx_drops_per_s"],
);
const CONNECTIONS: Lines = ({ series: [part] }) =>
  COLUMNS.tcp.map((name) => ({ label: name.toUpperCase(), values: column(part, name) }));
const TABLES = ["network", "tcp"];

export function NetworkSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const read = useHistory(source, "network");
  const tcp = useHistory(source, "tcp");
  const shared = { view, read };
  return (
    <section class="card family" aria-labelledby="network">
      <h2 id="network">{t("metric.network")}</h2>
      <div class="charts">
        <FamilyChart {...shared} title="network.traffic" unit="bytes_per_s" lines={TRAFFIC} />
        <FamilyChart {...shared} title="network.loss" unit="percent" lines={LOSS} />
        <FamilyChart {...shared} title="network.errors" unit="per_s" lines={ERRORS} />
        <FamilyChart
          title="network.connections"
          unit="1"
          view={view}
          read={tcp}
          lines={CONNECTIONS}
          stacked
        />
      </div>
    </section>
  );
}
