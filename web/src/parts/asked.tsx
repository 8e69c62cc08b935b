// What is shown until an answer is there, or in the place of one that will not come.
import type { ComponentChildren } from "preact";
import { usePage } from "../context";
import type { Asked } from "../http";

interface Props<T> {
  readonly asked: Asked<T>;
  readonly children: (data: T) => ComponentChildren;
}

const NOT_FOUND = 404;
const FORBIDDEN = 403;

export function Answer<T>({ asked, children }: Props<T>) {
  const { t } = usePage();
  if (asked.data !== undefined) return <>{children(asked.data)}</>;
  if (!asked.error) return <p class="waiting">{t("waiting")}</p>;
  const { status, message } = asked.error;
  const text =
    status === FORBIDDEN ? t("error.forbidden") : status === NOT_FOUND ? t("error.missing") : message;
  return <p class="waiting">{text}</p>;
}
