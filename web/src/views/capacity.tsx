// What is used for long, and what runs out when.
import { useMemo, useRef, useState } from "preact/hooks";
import { usePage } from "../context";
import { percent } from "../format";
import { useAsked } from "../http";
import { compare, SortHead, type Order } from "../parts/sorting";
import { useVisible } from "../parts/virtual";
import { href } from "../router";

const KINDS = ["cpu", "memory", "disk"] as const;
type Kind = (typeof KINDS)[number];
type Column = "name" | "first" | `${Kind}_p95` | `${Kind}_days`;

interface Use {
  readonly p95: number | null;
  readonly days_left: number | null;
  readonly mount: string | null;
}

type Line = { readonly server_id: string } & Readonly<Partial<Record<Kind, Use>>>;

interface Capacity {
  readonly days: number;
  readonly limits: Readonly<Record<Kind, number>>;
  readonly servers: readonly Line[];
}

const SOON_DAYS = 14;
const ROW_PX = 36;

function first(line: Line): number | null {
  const left = KINDS.map((kind) => line[kind]?.days_left ?? null).filter((days) => days !== null);
  return left.length ? Math.min(...left) : null;
}

function valueOf(line: Line, column: Column): number | string | null {
  if (column === "name") return line.server_id;
  if (column === "first") return first(line);
  const [kind, what] = column.split("_") as [Kind, string];
  return (what === "p95" ? line[kind]?.p95 : line[kind]?.days_left) ?? null;
}

export function CapacityView() {
  const { t } = usePage();
  const { data, error } = useAsked<Capacity>("/api/v1/capacity");
  const [order, setOrder] = useState<Order<Column>>({ column: "first", down: false });
  const lines = useMemo(
    () =>
      [...(data?.servers ?? [])].sort(
        (a, b) =>
          compare(valueOf(a, order.column), valueOf(b, order.column), order.down) ||
          compare(a.server_id, b.server_id, false),
      ),
    [data, order],
  );
  const body = useRef<HTMLTableSectionElement>(null);
  const slice = useVisible(body, lines.length, ROW_PX);
  if (error && !data) return <p class="waiting">{error.message}</p>;
  if (!data) return <p class="waiting">{t("waiting")}</p>;
  const head = { order, onSort: setOrder };
  return (
    <section class="card" aria-labelledby="capacity">
      <div class="bar">
        <h1 id="capacity">{t("capacity.title")}</h1>
        <span class="muted">{t("capacity.explained", { days: data.days, ...data.limits })}</span>
      </div>
      {lines.length === 0 ? (
        <p class="none">{t("capacity.none")}</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-labelledby="capacity">
          <table class="even" aria-rowcount={lines.length + 1}>
            <thead>
              <tr>
                <SortHead column="name" {...head}>{t("overview.server")}</SortHead>
                <SortHead column="first" class="number" {...head}>{t("capacity.first")}</SortHead>
                {KINDS.map((kind) => [
                  <SortHead column={`${kind}_p95`} class="number" startsDown {...head}>
                    {t("capacity.p95", { what: t(`metric.${kind}`) })}
                  </SortHead>,
                  <SortHead column={`${kind}_days`} class="number" {...head}>
                    {t("capacity.days_until", { limit: data.limits[kind] })}
                  </SortHead>,
                ])}
              </tr>
            </thead>
            <tbody ref={body}>
              {slice.first > 0 && (
                <tr aria-hidden="true" style={{ height: `${slice.first * ROW_PX}px` }} />
              )}
              {lines.slice(slice.first, slice.last).map((line) => (
                <tr key={line.server_id}>
                  <td>
                    <a href={href(["server", line.server_id], { range: "30d" })} title={line.server_id}>
                      {line.server_id}
                    </a>
                  </td>
                  <Days left={first(line)} />
                  {KINDS.map((kind) => [
                    <td class="number" title={line[kind]?.mount ?? ""}>
                      {percent(line[kind]?.p95)}
                    </td>,
                    <Days left={line[kind]?.days_left ?? null} />,
                  ])}
                </tr>
              ))}
              {slice.last < lines.length && (
                <tr
                  aria-hidden="true"
                  style={{ height: `${(lines.length - slice.last) * ROW_PX}px` }}
                />
              )}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Days({ left }: { readonly left: number | null }) {
  const { t } = usePage();
  if (left === null) return <td class="number muted">–</td>;
  const soon = left <= SOON_DAYS;
  return (
    <td class={`number ${soon ? "soon" : ""}`}>
      {left === 0 ? t("capacity.over") : t("duration.days", { n: Math.round(left) })}
    </td>
  );
}
