// Text of a run's cost so far. Pure.

import { about, dollars } from "./dom";

/** A run's cost in dollars, from Python; null: unknown. */
export interface Cost {
  backend: string;
  /** Cost of the run at `now`, by the kernel's clock. */
  cost: number | null;
  /** Dollars per hour that the run adds. */
  hourly: number | null;
  now: number;
  /** Cost of the session's containers before the run, including idle time. */
  before: number | null;
}

/** `$0.04 · session $0.71 with idle`: cost of the run, and of the session's containers since its first cell. */
export function costText(cost: Cost, now: number): string {
  const own = cost.cost === null ? null : cost.cost + ((cost.hourly ?? 0) * Math.max(0, now - cost.now)) / 3600;
  const text = cost.backend === "local" ? `free (${about(own)} on Modal)` : dollars(own);
  const all = cost.before && own !== null ? ` · session ${dollars(cost.before + own)} with idle` : "";
  return `${text}${all}`;
}
