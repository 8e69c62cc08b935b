// The browser's own dialog: it keeps the focus, and Escape closes it.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { usePage } from "../context";

interface Props {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: Props) {
  const { t } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="card" aria-label={title} onClose={onClose}>
      <div class="bar">
        <h2>{title}</h2>
        <button
          type="button"
          class="quiet icon"
          aria-label={t("dialog.close")}
          onClick={() => dialog.current?.close()}
        >
          ✕
        </button>
      </div>
      <div class="inside">{children}</div>
    </dialog>
  );
}
