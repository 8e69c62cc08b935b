// A head of a column that sorts.
import type { ComponentChildren } from "preact";

export interface Order<C extends string> {
  readonly column: C;
  readonly down: boolean;
}

interface Props<C extends string> {
  readonly column: C;
  readonly order: Order<C>;
  readonly onSort: (order: Order<C>) => void;
  readonly class?: string;
  readonly startsDown?: boolean;
  readonly children: ComponentChildren;
}

export function SortHead<C extends string>(props: Props<C>) {
  const { column, order, onSort, startsDown = false } = props;
  const mine = order.column === column;
  const down = mine ? !order.down : startsDown;
  return (
    <th
      scope="col"
      class={props.class}
      aria-sort={mine ? (order.down ? "descending" : "ascending") : "none"}
    >
      <button type="button" class="sort" onClick={() => onSort({ column, down })}>
        {props.children}
        <span class="arrow" aria-hidden="true">
          {mine ? (order.down ? "▼" : "▲") : ""}
        </span>
      </button>
    </th>
  );
}

// Once for all: String.localeCompare finds its rules anew for each pair.
const NAMES = new Intl.Collator(undefined, { numeric: true });

// Nothing sorts behind everything, whichever way.
export function compare(
  a: number | string | null,
  b: number | string | null,
  down: boolean,
): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const ahead = typeof a === "string" ? NAMES.compare(a, String(b)) : a - Number(b);
  return down ? -ahead : ahead;
}
