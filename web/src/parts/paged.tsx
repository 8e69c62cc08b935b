// An answer that goes on: its newest page, and those before it when somebody asks for more.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { usePage } from "../context";
import { ask, useAsked } from "../http";
import { Answer } from "./asked";

interface Props<Page, Entry> {
  readonly path: (before?: number) => string;
  readonly entriesOf: (page: Page) => readonly Entry[];
  readonly full: number; // so many entries, and there may be more
  readonly children: (entries: readonly Entry[]) => ComponentChildren;
}

export function Paged<Page, Entry extends { readonly id: number }>(props: Props<Page, Entry>) {
  const { path, entriesOf, full, children } = props;
  const { t, say } = usePage();
  const asked = useAsked<Page>(path());
  const [more, setMore] = useState<readonly Entry[]>([]);
  const [done, setDone] = useState(false);
  const readMore = async (before: number) => {
    try {
      const next = entriesOf(await ask<Page>(path(before)));
      setMore([...more, ...next]);
      setDone(next.length < full);
    } catch (failure) {
      say((failure as Error).message, "failed");
    }
  };
  return (
    <Answer asked={asked}>
      {(newest) => {
        const first = entriesOf(newest);
        const all = [...first, ...more];
        const last = all[all.length - 1];
        return (
          <>
            {children(all)}
            {last && !done && first.length === full && (
              <p class="inset">
                <button type="button" onClick={() => void readMore(last.id)}>
                  {t("alerts.more")}
                </button>
              </p>
            )}
          </>
        );
      }}
    </Answer>
  );
}
