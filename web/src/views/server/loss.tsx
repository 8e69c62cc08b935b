// What is missing of this server's samples, and why: nothing is lost in silence.
import type { Period } from "../../charts/plot";
import { usePage } from "../../context";
import { query, useAsked } from "../../http";
import { named } from "../../texts/texts";

interface Gap {
  readonly state: string;
  readonly reason: string;
  readonly detail: string | null;
  readonly batches: number;
  readonly from: string | null;
  readonly to: string | null;
}

interface Loss {
  readonly lost_batches: number;
  readonly parked_batches: number;
  readonly pending_batches: number;
  readonly gaps: readonly Gap[];
}

const SHOWN_MAX = 20;
const EVERY_MS = 60_000;

export function LossSection({ path, period }: { readonly path: string; readonly period: Period }) {
  const { t, f } = usePage();
  const since = new Date(Math.floor(period.from / 60) * 60_000).toISOString();
  const asked = useAsked<Loss>(`${path}/loss?${query({ since })}`, EVERY_MS);
  const loss = asked.data;
  return (
    <section class="card family" aria-labelledby="loss">
      <h2 id="loss">{t("loss.title")}</h2>
      {loss && (
        <p class="sums">
          {t("loss.sums", {
            lost: loss.lost_batches,
            parked: loss.parked_batches,
            pending: loss.pending_batches,
          })}
        </p>
      )}
      {loss && loss.gaps.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-labelledby="loss">
          <table class="dense">
            <thead>
              <tr>
                <th scope="col">{t("loss.state")}</th>
                <th scope="col">{t("loss.from")}</th>
                <th scope="col">{t("loss.to")}</th>
                <th scope="col" class="number">{t("loss.batches")}</th>
                <th scope="col">{t("loss.reason")}</th>
              </tr>
            </thead>
            <tbody>
              {loss.gaps.slice(0, SHOWN_MAX).map((gap, index) => (
                <tr key={index}>
                  <td>{named(t, "loss_state", gap.state)}</td>
                  <td data-name={t("loss.from")}>{f.dateTime(gap.from)}</td>
                  <td data-name={t("loss.to")}>{f.dateTime(gap.to)}</td>
                  <td class="number" data-name={t("loss.batches")}>{gap.batches}</td>
                  <td>
                    {named(t, "reason", gap.reason)} {gap.detail ?? ""}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
