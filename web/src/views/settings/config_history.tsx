// What a scope said before, and back to it.
import { usePage } from "../../context";
import { ask, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { Dialog } from "../../parts/dialog";
import { text, type Scope } from "./config";

interface Props {
  readonly scope: string;
  readonly onClose: () => void;
}

export function ScopeHistory({ scope, onClose }: Props) {
  const { t, f, session, say } = usePage();
  const path = `/api/v1/config/${encodeURIComponent(scope)}`;
  const asked = useAsked<{ revisions: readonly Scope[] }>(`${path}/history`);
  const back = async (revision: number) => {
    try {
      await ask(`${path}/rollback`, { method: "POST", body: { revision } });
      say(t("config.saved"));
    } catch (failure) {
      say((failure as Error).message, "failed");
    }
    onClose();
  };
  return (
    <Dialog title={t("config.history_of", { scope })} onClose={onClose}>
      <Answer asked={asked}>
        {({ revisions }) => (
          <ul class="plain">
            {revisions.map((each, index) => (
              <li key={each.revision} class="revision">
                <span class="muted">
                  {t("config.revision", { n: each.revision })} · {f.dateTime(each.time)} ·{" "}
                  {each.author} {each.comment && `· ${each.comment}`}
                </span>
                <code>
                  {Object.entries(each.fields)
                    .map(([name, value]) => `${name} = ${text(value)}`)
                    .join(", ") || t("config.says_nothing")}
                </code>
                {session.is_admin && index > 0 && (
                  <button
                    type="button"
                    aria-label={t("config.back_to", { n: each.revision })}
                    onClick={() => void back(each.revision)}
                  >
                    {t("config.back")}
                  </button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Answer>
    </Dialog>
  );
}
