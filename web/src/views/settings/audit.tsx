// Who did what, and what was denied: the newest first, as far back as one asks.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { query } from "../../http";
import { Paged } from "../../parts/paged";

interface Entry {
  readonly id: number;
  readonly time: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string | null;
  readonly allowed: boolean;
  readonly address: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly count: number;
}

type Page = { readonly audit: readonly Entry[] };
type Filter = Readonly<Partial<Record<"actor" | "action", string>>>;

const LIMIT = 100;

function path(filter: Filter, before?: number): string {
  return `/api/v1/audit?${query({ ...filter, limit: LIMIT, ...(before ? { before } : {}) })}`;
}

export function Audit() {
  const { t } = usePage();
  const [filter, setFilter] = useState<Filter>({});
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const given = (["actor", "action"] as const).map(
      (name) => [name, String(form.get(name) ?? "").trim()] as const,
    );
    setFilter(Object.fromEntries(given.filter(([, text]) => text !== "")));
  };
  return (
    <>
      <form class="inset inline" onSubmit={submit}>
        <label>
          {t("audit.who")}
          <input name="actor" placeholder="key 3f9a02c4" />
        </label>
        <label>
          {t("audit.what")}
          <input name="action" placeholder="key.create, rule" />
        </label>
        <button type="submit">{t("audit.filter")}</button>
      </form>
      <Entries key={JSON.stringify(filter)} filter={filter} />
    </>
  );
}

function Entries({ filter }: { readonly filter: Filter }) {
  const { t } = usePage();
  return (
    <Paged<Page, Entry>
      path={(before) => path(filter, before)}
      entriesOf={({ audit }) => audit}
      full={LIMIT}
    >
      {(entries) =>
        entries.length === 0 ? <p class="none">{t("audit.none")}</p> : <Log entries={entries} />
      }
    </Paged>
  );
}

function Log({ entries }: { readonly entries: readonly Entry[] }) {
  const { t, f } = usePage();
  return (
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
          {entries.map((entry) => (
            <tr key={entry.id}>
              <td>{f.dateTime(entry.time)}</td>
              <td>{entry.actor}</td>
              <td class={entry.allowed ? "" : "soon"}>
                {entry.action}
                {!entry.allowed && ` (${t("audit.denied")})`}
                {entry.count > 1 && ` × ${entry.count}`}
              </td>
              <td>{entry.object ?? ""}</td>
              <td>{entry.address ?? ""}</td>
              <td class="muted">{shown(entry.detail)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function shown(detail: Entry["detail"]): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}
