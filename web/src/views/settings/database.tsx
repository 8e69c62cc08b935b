import { usePage } from "../../context";
import { bytes, count } from "../../format";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";

interface Status {
  readonly engine: string;
  readonly edition: string;
  readonly server_version: string;
  readonly timescaledb_version: string | null;
  readonly offers: string | null;
  readonly retention: Readonly<Record<string, number>>;
  readonly rollup_lag_s: number | null;
  readonly sizes: readonly {
    readonly relation: string;
    readonly tier: string;
    readonly chunks: number;
    readonly rows: number;
    readonly total_bytes: number;
    readonly compression_ratio: number | null;
    readonly begin: string | null;
  }[];
}

export function Database() {
  const { t, f } = usePage();
  const asked = useAsked<Status>("/api/v1/database");
  return (
    <Answer asked={asked}>
      {(status) => (
        <>
          <dl class="facts inset">
            <Fact name={t("database.engine")} value={status.engine} />
            <Fact
              name={t("database.software")}
              value={`${status.edition} ${status.timescaledb_version ?? ""}, PostgreSQL ${status.server_version}`}
            />
            <Fact
              name={t("database.kept")}
              value={Object.entries(status.retention)
                .map(([tier, span]) => `${tier} ${f.duration(span)}`)
                .join(", ")}
            />
            <Fact name={t("database.lag")} value={f.duration(status.rollup_lag_s)} />
            <Fact
              name={t("database.size")}
              value={bytes(status.sizes.reduce((sum, each) => sum + each.total_bytes, 0))}
            />
          </dl>
          {status.engine === "postgres" && <p class="inset">{t("database.embedded")}</p>}
          {status.offers && <p class="inset">{t("database.offers", { engine: status.offers })}</p>}
          <div class="scroll" tabIndex={0} role="region" aria-label={t("settings.database")}>
            <table class="dense">
              <thead>
                <tr>
                  <th scope="col">{t("database.table")}</th>
                  <th scope="col" class="number">{t("database.rows")}</th>
                  <th scope="col" class="number">{t("database.size")}</th>
                  <th scope="col" class="number">{t("database.chunks")}</th>
                  <th scope="col" class="number">{t("database.compression")}</th>
                  <th scope="col">{t("database.since")}</th>
                </tr>
              </thead>
              <tbody>
                {status.sizes.map((size) => (
                  <tr key={size.relation}>
                    <td>
                      <b>{size.relation}</b>
                    </td>
                    <td class="number" data-name={t("database.rows")}>{count(size.rows)}</td>
                    <td class="number" data-name={t("database.size")}>{bytes(size.total_bytes)}</td>
                    <td class="number" data-name={t("database.chunks")}>{size.chunks}</td>
                    <td class="number" data-name={t("database.compression")}>
                      {size.compression_ratio === null ? "–" : size.compression_ratio.toFixed(1)}
                    </td>
                    <td data-name={t("database.since")}>{f.dateTime(size.begin)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </Answer>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
