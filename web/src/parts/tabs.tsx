// Links that look like tabs: each part of a view has an address.
import { href } from "../router";

export interface Tab {
  readonly name: string;
  readonly label: string;
}

interface Props {
  readonly view: string;
  readonly tabs: readonly Tab[];
  readonly current: string;
  readonly label: string;
}

export function Tabs({ view, tabs, current, label }: Props) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map((tab) => (
        <a
          key={tab.name}
          href={href(tab.name ? [view, tab.name] : [view])}
          aria-current={tab.name === current ? "page" : undefined}
        >
          {tab.label}
        </a>
      ))}
    </nav>
  );
}
