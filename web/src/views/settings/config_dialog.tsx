// The fields of one scope. The gateway checks them; here they are only read.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { Dialog } from "../../parts/dialog";

export type Fields = Readonly<Record<string, unknown>>;

export interface Field {
  readonly name: string;
  readonly kind: string;
  readonly expected: string;
  readonly help: string;
  readonly choices: readonly string[] | null;
}

interface Props {
  readonly scope: string | null; // null: a new one
  readonly given: Fields;
  readonly priority: number | null;
  readonly revision: number | null;
  readonly known: readonly Field[];
  readonly onClose: () => void;
}

// A field as a person writes it, and back.
export function written(field: Field, value: unknown): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.join(field.kind === "patterns" ? "\n" : ", ");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([name, speed]) => `${name}=${String(speed)}`)
      .join(", ");
  }
  return String(value);
}

export function read(field: Field, text: string): unknown {
  switch (field.kind) {
    case "number":
    case "integer":
      return Number.isNaN(Number(text)) ? text : Number(text);
    case "switch":
      return text === "true";
    case "names":
      return parts(text, ",");
    case "patterns":
      return parts(text, "\n");
    case "speeds":
      return Object.fromEntries(
        parts(text, ",").map((pair) => {
          const [name = "", speed = ""] = pair.split("=");
          return [name.trim(), Number(speed)];
        }),
      );
    default:
      return text;
  }
}

function parts(text: string, separator: string): string[] {
  return text
    .split(separator)
    .map((each) => each.trim())
    .filter(Boolean);
}

export function ScopeDialog({ scope, given, priority, revision, known, onClose }: Props) {
  const { t, say } = usePage();
  const [shown, setShown] = useState(() => Object.keys(given));
  const [error, setError] = useState("");
  const rest = known.filter((field) => !shown.includes(field.name));
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const fields = Object.fromEntries(
      known
        .filter((field) => shown.includes(field.name))
        .map((field) => [field.name, read(field, String(form.get(field.name) ?? ""))]),
    );
    const name = scope ?? String(form.get("scope"));
    const rank = String(form.get("priority") ?? "");
    const comment = String(form.get("comment") ?? "").trim();
    try {
      await ask(`/api/v1/config/${encodeURIComponent(name)}`, {
        method: "PUT",
        body: {
          fields,
          ...(comment === "" ? {} : { comment }),
          ...(name.startsWith("labels:") && rank !== "" ? { priority: Number(rank) } : {}),
          ...(revision === null ? {} : { expected_revision: revision }),
        },
      });
      say(t("config.saved"));
      onClose();
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={scope ?? t("config.add")} onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        {scope === null && (
          <label>
            {t("config.scope")}
            <input name="scope" required placeholder="all, labels:env=prod, server:db-01" />
          </label>
        )}
        {(scope === null || scope.startsWith("labels:")) && (
          <label>
            {t("config.priority")}
            <input name="priority" type="number" defaultValue={priority ?? ""} />
          </label>
        )}
        {known
          .filter((field) => shown.includes(field.name))
          .map((field) => (
            <label key={field.name}>
              <span>
                <code>{field.name}</code>{" "}
                <button
                  type="button"
                  class="quiet"
                  aria-label={`${t("config.drop")} ${field.name}`}
                  onClick={() => setShown(shown.filter((each) => each !== field.name))}
                >
                  ✕
                </button>
              </span>
              <Input field={field} value={given[field.name]} />
              <span class="muted">{field.expected}</span>
            </label>
          ))}
        {rest.length > 0 && (
          <label>
            {t("config.add_field")}
            <select
              value=""
              onChange={(event) => setShown([...shown, event.currentTarget.value])}
            >
              <option value="" />
              {rest.map((field) => (
                <option key={field.name} value={field.name} title={field.help}>
                  {field.name}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          {t("config.comment")}
          <input name="comment" maxLength={200} />
        </label>
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {t("config.push")}
        </button>
      </form>
    </Dialog>
  );
}

function Input({ field, value }: { readonly field: Field; readonly value: unknown }) {
  const text = written(field, value);
  const choices = field.kind === "switch" ? ["true", "false"] : (field.choices ?? []);
  if (field.kind === "patterns") return <textarea name={field.name} rows={3} defaultValue={text} />;
  if (choices.length === 0) return <input name={field.name} defaultValue={text} />;
  return (
    <select name={field.name}>
      {choices.map((choice) => (
        <option key={choice} selected={choice === text}>
          {choice}
        </option>
      ))}
    </select>
  );
}
