// What is pushed to agents, by scope; and who runs what.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { ScopeHistory } from "./config_history";
import { WhoRunsWhat } from "./who_runs_what";
import { ScopeDialog, type Field, type Fields } from "./config_dialog";

export interface Scope {
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
  readonly fields: readonly Field[];
}

const EVERY_MS = 5000;

export function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function Config() {
  const { t, f, session } = usePage();
  const [editing, setEditing] = useState<Scope | "new" | null>(null);
  const [history, setHistory] = useState<string | null>(null);
  const asked = useAsked<Everything>("/api/v1/config", EVERY_MS);
  return (
    <Answer asked={asked}>
      {({ scopes, fields }) => (
        <>
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
                <div class="actions">
                  <button
                    type="button"
                    aria-label={t("config.history_of", { scope: scope.scope })}
                    onClick={() => setHistory(scope.scope)}
                  >
                    {t("config.history")}
                  </button>
                  {session.is_admin && (
                    <button
                      type="button"
                      aria-label={`${t("config.edit")} ${scope.scope}`}
                      onClick={() => setEditing(scope)}
                    >
                      {t("config.edit")}
                    </button>
                  )}
                </div>
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
          {history !== null && (
            <ScopeHistory
              scope={history}
              onClose={() => {
                setHistory(null);
                asked.again();
              }}
            />
          )}
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
