import { useMemo } from "preact/hooks";
import { Chart, type View } from "../../charts/chart";
import { column, type Line } from "../../charts/data";
import { usePage } from "../../context";
import { perThing } from "./disk";
import { useHistory, useViewOf, type Source } from "./source";

const STATES = [
  ["ESTABLISHED", "established"],
  ["TIME_WAIT", "time_wait"],
  ["CLOSE_WAIT", "close_wait"],
  ["LISTEN", "listen"],
  ["SYN_SENT", "syn_sent"],
  ["SYN_RECV", "syn_recv"],
  ["FIN_WAIT1", "fin_wait1"],
  ["FIN_WAIT2", "fin_wait2"],
  ["LAST_ACK", "last_ack"],
  ["CLOSING", "closing"],
] as const;

const TABLES = ["network", "tcp"];

export function NetworkSection({ view: whole, source }: { readonly view: View; readonly source: Source }) {
  const view = useViewOf(whole, TABLES);
  const { t } = usePage();
  const network = useHistory(source, "network");
  const tcp = useHistory(source, "tcp", { compare: false }).now;
  const shown = useMemo(() => {
    const traffic = [
      ["network.in", "rx_bytes_per_s"],
      ["network.out", "tx_bytes_per_s"],
    ] as const;
    return {
      traffic: perThing(network.now, "interface", traffic, t),
      before: network.before && {
        times: network.before.times,
        lines: perThing(network.before, "interface", traffic, t),
      },
      loss: perThing(network.now, "interface", [[null, "packet_loss_percent"]], t),
      errors: perThing(
        network.now,
        "interface",
        [
          ["network.in_errors", "rx_errors_per_s"],
          ["network.out_errors", "tx_errors_per_s"],
          ["network.in_drops", "rx_drops_per_s"],
          ["network.out_drops", "tx_drops_per_s"],
        ],
        t,
      ),
    };
  }, [network.now, network.before, t]);
  const states = useMemo<Line[]>(
    () => STATES.map(([label, name]) => ({ label, values: column(tcp.series[0], name) })),
    [tcp],
  );
  return (
    <section class="card family" aria-labelledby="network">
      <h2 id="network">{t("metric.network")}</h2>
      <div class="charts">
        <Chart
          title={t("network.traffic")}
          unit="bytes_per_s"
          view={view}
          times={network.now.times}
          lines={shown.traffic}
          before={shown.before}
        />
        <Chart
          title={t("network.loss")}
          unit="percent"
          view={view}
          times={network.now.times}
          lines={shown.loss}
        />
        <Chart
          title={t("network.errors")}
          unit="per_s"
          view={view}
          times={network.now.times}
          lines={shown.errors}
        />
        <Chart
          title={t("network.connections")}
          unit="1"
          view={view}
          times={tcp.times}
          lines={states}
          stacked
        />
      </div>
    </section>
  );
}
