// How full a filesystem is: a half circle, its number, and what else there is to know.
import { usePage } from "../context";
import { bytes, percent } from "../format";

export interface Disk {
  readonly mount: string;
  readonly device: string | null;
  readonly fstype: string | null;
  readonly total_bytes: number | null;
  readonly used_bytes: number | null;
  readonly free_bytes: number | null;
  readonly used_percent: number | null;
  readonly inodes_used_percent: number | null;
  readonly hours_until_full: number | null;
}

const WARNING = 80;
const CRITICAL = 90;
const LENGTH = 126; // of the arc below

function level(share: number | null): string {
  if (share === null) return "none";
  return share > CRITICAL ? "critical" : share > WARNING ? "warning" : "ok";
}

export function DiskGauge({ disk }: { readonly disk: Disk }) {
  const { t, f } = usePage();
  const share = disk.used_percent;
  const hours = disk.hours_until_full;
  return (
    <li class={`gauge gauge-${level(share)}`}>
      <svg viewBox="0 0 100 56" aria-hidden="true">
        <path class="track" d="M10 50a40 40 0 0 1 80 0" />
        <path
          class="filled"
          d="M10 50a40 40 0 0 1 80 0"
          stroke-dasharray={`${((share ?? 0) / 100) * LENGTH} ${LENGTH}`}
        />
        <text x="50" y="48">
          {percent(share, 0)}
        </text>
      </svg>
      <div>
        <b title={disk.mount}>{disk.mount}</b>
        <span class="device">
          {disk.device ?? ""} {disk.fstype ?? ""}
        </span>
        <span>{t("disk.of", { used: bytes(disk.used_bytes), total: bytes(disk.total_bytes) })}</span>
        <span>{t("disk.inodes", { share: percent(disk.inodes_used_percent, 0) })}</span>
        <span class={hours !== null && hours < 24 ? "soon" : ""}>
          {hours === null
            ? t("disk.not_filling")
            : t("disk.full_in", { time: f.duration(hours * 3600) })}
        </span>
      </div>
    </li>
  );
}
