// Machines that ask for a name that is known: an admin compares fingerprints, and says yes or no.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask, query, useAsked } from "../../http";
import { Answer } from "../../parts/asked";
import { named } from "../../texts/texts";

interface Enrollment {
  readonly id: number;
  readonly server_id: string;
  readonly fingerprint: string;
  readonly agent_version: string;
  readonly address: string | null;
  readonly state: string;
  readonly asked_at: string;
  readonly decided_by: string | null;
}

const PATH = "/api/v1/enrollments";
const EVERY_MS = 5000;

export function Enrollments() {
  const { t, f, say } = usePage();
  const [all, setAll] = useState(false);
  const asked = useAsked<{ enrollments: readonly Enrollment[] }>(
    `${PATH}?${query(all ? { all: "true" } : {})}`,
    EVERY_MS,
  );
  const decide = async ({ id, server_id }: Enrollment, what: "approve" | "deny") => {
    try {
      await ask(`${PATH}/${id}/${what}`, { method: "POST" });
      say(t(what === "approve" ? "enrollments.approved" : "enrollments.denied", { name: server_id }));
    } catch (error) {
      say((error as Error).message, "failed");
    }
    asked.again();
  };
  return (
    <>
      <p class="inset muted">{t("enrollments.explained")}</p>
      <p class="inset">
        <label class="check">
          <input
            type="checkbox"
            checked={all}
            onChange={(event) => setAll(event.currentTarget.checked)}
          />
          {t("enrollments.all")}
        </label>
      </p>
      <Answer asked={asked}>
        {({ enrollments }) =>
          enrollments.length === 0 ? (
            <p class="none">{t("enrollments.none")}</p>
          ) : (
            <ul class="alerts">
              {enrollments.map((each) => (
                <li key={each.id}>
                  <span class="badge">{named(t, "enrollment_state", each.state)}</span>
                  <div class="what">
                    <b>{each.server_id}</b>
                    <span class="muted">
                      {t("enrollments.machine")} <code>{each.fingerprint}</code> ·{" "}
                      {each.address ?? ""} · {each.agent_version} · {f.ago(each.asked_at)}
                      {each.decided_by && ` · ${each.decided_by}`}
                    </span>
                  </div>
                  {each.state === "pending" && (
                    <div class="actions">
                      <button
                        type="button"
                        aria-label={`${t("enrollments.approve")} ${each.id} ${each.server_id}`}
                        onClick={() => void decide(each, "approve")}
                      >
                        {t("enrollments.approve")}
                      </button>
                      <button
                        type="button"
                        class="danger"
                        aria-label={`${t("enrollments.deny")} ${each.id} ${each.server_id}`}
                        onClick={() => void decide(each, "deny")}
                      >
                        {t("enrollments.deny")}
                      </button>
                    </div>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Answer>
    </>
  );
}
