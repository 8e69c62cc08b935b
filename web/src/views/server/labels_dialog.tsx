// The labels of a server, one a line: rules, silences and config choose servers by them.
import { useState } from "preact/hooks";
import { usePage } from "../../context";
import { ask } from "../../http";
import { Dialog } from "../../parts/dialog";

interface Props {
  readonly path: string; // of the server
  readonly labels: Readonly<Record<string, string>>;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}

function read(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean)
      .map((line) => {
        const [key = "", ...value] = line.split("=");
        return [key.trim(), value.join("=").trim()];
      }),
  );
}

export function LabelsDialog({ path, labels, onClose, onSaved }: Props) {
  const { t, say } = usePage();
  const [error, setError] = useState("");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    try {
      const body = { labels: read(String(form.get("labels") ?? "")) };
      await ask(`${path}/labels`, { method: "PUT", body });
      say(t("labels.saved"));
      onSaved();
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <Dialog title={t("labels.title")} onClose={onClose}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        <label>
          {t("labels.lines")}
          <textarea
            name="labels"
            rows={6}
            placeholder="env=prod"
            defaultValue={Object.entries(labels)
              .map(([key, value]) => `${key}=${value}`)
              .join("\n")}
          />
        </label>
        <p class="error" role="alert">
          {error}
        </p>
        <button type="submit" class="main">
          {t("labels.save")}
        </button>
      </form>
    </Dialog>
  );
}
