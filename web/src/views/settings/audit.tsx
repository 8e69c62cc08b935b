import { usePage } from "../../context";
import { query, useAsked } from "../../http";
import { Answer } from "../../parts/asked";

interface Entry {
  readonly id: number;
  readonly time: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string | null;
  readonly allowed: boolean;
  readonly address: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

const LIMIT = 200;

export function Audit() {
  const { t, f } = usePage();
  const asked = useAsked<{ audit: readonly Entry[] }>(`/api/v1/audit?${query({ limit: LIMIT })}`);
  return (
    <Answer asked={asked}>
      {({ audit }) => (
        <div class="scroll" tabIndex={0} role="region" aria-label={t("settings.audit")}>
          <table class="dense">
            <thead>
              <tr>
                <th scope="col">{t("audit.time")}</th>
                <th scope="col">{t("audit.who")}</th>
                <th scope="col">{t("audit.what")}</th>
                <th scope="col">{t("audit.to")}</th>
                <th scope="col">{t("audit.from")}</th>
                <th scope="col">{t("audit.detail")}</th>
              </tr>
            </thead>
            <tbody>
              {audit.map((entry) => (
                <tr key={entry.id}>
                  <td>{f.dateTime(entry.time)}</td>
                  <td>{entry.actor}</td>
                  <td class={entry.allowed ? "" : "soon"}>
                    {entry.action}
                    {!entry.allowed && ` (${t("audit.denied")})`}
                  </td>
                  <td>{entry.object ?? ""}</td>
                  <td>{entry.address ?? ""}</td>
                  <td class="muted">{shown(entry.detail)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Answer>
  );
}

function shown(detail: Entry["detail"]): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}
