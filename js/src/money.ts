// What a run has cost so far, as it is shown. Pure.

import { dollars } from "./dom";

/** What Python says of a run's cost, in dollars; null: not known. */
export interface Cost {
  backend: string;
  /** Of the run, at `now` on the kernel's clock. */
  cost: number | null;
  /** An hour, that adds to it. */
  hourly: number | null;
  now: number;
  /** Of the session's containers before the run, their idling included. */
  before: number | null;
}

/** `$0.04 · session $0.71 with idle`: the run, and the session's containers since its first cell. */
export function costText(cost: Cost, now: number): string {
  const own = cost.cost === null ? null : cost.cost + ((cost.hourly ?? 0) * Math.max(0, now - cost.now)) / 3600;
  const place = cost.backend === "local" ? "free here; at Modal " : "";
  const all = cost.before && own !== null ? ` · session ${dollars(cost.before + own)} with idle` : "";
  return `${place}${dollars(own)}${all}`;
}
