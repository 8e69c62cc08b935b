// What a person may do about an alert.
import type { Page } from "../../context";
import { refresh } from "../../fleet";
import { ask } from "../../http";

export async function acknowledge(page: Page, id: number, done: () => void): Promise<void> {
  try {
    await ask(`/api/v1/alerts/${id}/ack`, { method: "POST" });
    page.say(page.t("alerts.acknowledged_done"));
    refresh();
    done();
  } catch (error) {
    page.say((error as Error).message, "failed");
  }
}
