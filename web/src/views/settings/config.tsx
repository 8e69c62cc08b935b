// What is pushed to agents, by scope; and who runs what.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { useFleet } from "../../fleet";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { named } from "../../texts/texts";
import { ScopeDialog, type Field, type Fields } from "./config_dialog";

interface Scope {
  readonly revision: number;
  readonly scope: string;
  readonly priority: number | null;
  readonly fields: Fields;
  readonly author: string;
  readonly time: string;
  readonly comment: string | null;
}

interface Everything {
  readonly scopes: readonly Scope[];
  readonly servers: Readonly<Record<string, number>>;
  readonly fields: readonly Field[];
}

interface OfServer {
  readonly revision: number;
  readonly fields: Readonly<
    Record<string, { readonly value: unknown; readonly scope: string; readonly revision: number }>
  >;
  readonly agent: {
    readonly revision: number;
    readonly status: string;
    readonly detail: string | null;
    readonly time: string | null;
  };
}

const EVERY_MS = 5000;

export function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function Config() {
  const { t, f, session } = usePage();
  const [editing, setEditing] = useState<Scope | "new" | null>(null);
  const asked = useAsked<Everything>("/api/v1/config", EVERY_MS);
  return (
    <Answer asked={asked}>
      {({ scopes, servers, fields }) => (
        <>
          <p class="inset">
            {Object.entries(servers).map(([status, count]) => (
              <span class="badge" key={status}>
                {named(t, "config_status", status)} {count}
              </span>
            ))}
          </p>
          {scopes.length === 0 && <p class="none">{t("config.none")}</p>}
          <ul class="alerts">
            {scopes.map((scope) => (
              <li key={scope.scope}>
                <span class="badge">{scope.scope}</span>
                <div class="what">
                  <b>
                    {Object.entries(scope.fields)
                      .map(([name, value]) => `${name} = ${text(value)}`)
                      .join(", ") || t("config.says_nothing")}
                  </b>
                  <span class="muted">
                    {t("config.revision", { n: scope.revision })} · {f.dateTime(scope.time)} ·{" "}
                    {scope.author} {scope.comment && `· ${scope.comment}`}
                  </span>
                </div>
                {session.is_admin && (
                  <div class="actions">
                    <button type="button" onClick={() => setEditing(scope)}>
                      {t("config.edit")}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
          {session.is_admin && (
            <p class="inset">
              <button type="button" onClick={() => setEditing("new")}>
                {t("config.add")}
              </button>
            </p>
          )}
          <WhoRunsWhat />
          {editing !== null && (
            <ScopeDialog
              scope={editing === "new" ? null : editing.scope}
              given={editing === "new" ? {} : editing.fields}
              priority={editing === "new" ? null : editing.priority}
              revision={editing === "new" ? null : editing.revision}
              known={fields}
              onClose={() => {
                setEditing(null);
                asked.again();
              }}
            />
          )}
        </>
      )}
    </Answer>
  );
}

function WhoRunsWhat() {
  const { t } = usePage();
  const { fleet } = useFleet();
  const names = (fleet?.servers ?? []).map((server) => server.name).sort();
  const [chosen, setChosen] = useState("");
  const name = names.includes(chosen) ? chosen : (names[0] ?? "");
  const asked = useAsked<OfServer>(
    name ? `/api/v1/servers/${encodeURIComponent(name)}/config` : null,
    EVERY_MS,
  );
  if (!name) return null;
  return (
    <div class="inset">
      <div class="inline">
        <h2>{t("config.who")}</h2>
        <label>
          <span class="hidden">{t("overview.server")}</span>
          <select value={name} onChange={(event) => setChosen(event.currentTarget.value)}>
            {names.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </div>
      <Answer asked={asked}>
        {({ revision, fields, agent }) => (
          <>
            <p>
              {t("config.wanted", { n: revision })} · {t("config.runs", { n: agent.revision })} ·{" "}
              <b>{named(t, "config_status", agent.status)}</b> {agent.detail ?? ""}
            </p>
            <ul class="plain">
              {Object.entries(fields).map(([field, { value, scope }]) => (
                <li key={field}>
                  <code>
                    {field} = {text(value)}
                  </code>{" "}
                  <span class="muted">{scope}</span>
                </li>
              ))}
            </ul>
          </>
        )}
      </Answer>
    </div>
  );
}
