// What Modal offers, for one need: which GPUs fit, how many, at what price. Pure, without the page.
//
// Python makes every price as a text and every order of GPUs (`ui/widgets/offers.py`): this file looks both up. It
// compares prices only by their places in Python's order, and memory by the number of GPUs that Python says are needed.

import { specText, type Choice, type Spec } from "./spec";

/** A price of an hour: anywhere, in a broad region, in a narrow one, and its place among all prices; a larger place costs more. */
export type Price = readonly [text: string, broad: string, narrow: string, place: number];

/** One GPU of the catalog, from Python. Memory in GB. */
export interface Row {
  name: string;
  vram: number;
  max: number;
  best: string;
  strict: boolean;
  cluster: boolean;
  facts: readonly (readonly [label: string, value: string])[];
  /** Prices of 1, 2, ... GPUs. */
  prices: readonly Price[];
  /** Prices of 2, 3, ... whole nodes. */
  cluster_prices: readonly Price[];
}

/** A GPU in a ranking: GPUs a node, nodes (0: too small), GPUs needed in all, reason. The best comes first. */
export type Entry = readonly [name: string, count: number, nodes: number, least: number, reason: string];

/** What the machine must hold. `model`: empty, or the model's size. `each`: least memory of one GPU, GB. */
export interface Need {
  model: string;
  /** Memory that the model needs, as text. */
  gb: string;
  each: number;
  entries: readonly Entry[];
}

/** Whether a GPU fits a need: the GPUs a node and the nodes, or the reason why not. */
export type Fit = { ok: true; count: number; nodes: number; reason: string } | { ok: false; why: string };

export function fit(row: Row, need: Need): Fit {
  if (row.vram < need.each) return { ok: false, why: `too small: ${row.vram} GB each` };
  const [, count, nodes, , reason] = entryOf(row.name, need);
  return nodes ? { ok: true, count, nodes, reason } : { ok: false, why: reason };
}

/** The price of a spec on a number of nodes. */
export function price(row: Row, count: number, nodes = 1): Price {
  return (nodes > 1 ? row.cluster_prices[nodes - 2] : row.prices[count - 1]) ?? ["–", "–", "–", 0];
}

export function priceText(found: Price, region: string): string {
  return found[region.includes("-") ? 2 : region ? 1 : 0];
}

/** `$7.90/h`; with a dearer fallback `$7.90/h, up to $9.08/h`, as Python's `quote.rate` writes it. */
export function totalText(choice: Choice, rows: readonly Row[]): string {
  const prices = choice.specs.flatMap((spec) => {
    const row = rowOf(spec.name, rows);
    return row ? [price(row, spec.count, choice.nodes)] : [];
  });
  const first = prices[0];
  if (!first) return "";
  const dearest = prices.reduce((most, one) => (one[3] > most[3] ? one : most));
  const [text, most] = [priceText(first, choice.region), priceText(dearest, choice.region)];
  return most === text ? text : `${text}, up to ${most}`;
}

export type Badge = "recommended" | "cheapest that fits";

/** The GPUs in the order of the cards, with their badges: Python's order, those that do not fit last. */
export function ranked(rows: readonly Row[], need: Need): { row: Row; found: Fit; badges: Badge[] }[] {
  const cards = need.entries.flatMap(([name]) => {
    const row = rowOf(name, rows);
    return row ? [{ row, found: fit(row, need), badges: [] as Badge[] }] : [];
  });
  const fitting = cards.filter(({ found }) => found.ok);
  if (need.model) fitting[0]?.badges.push("recommended");
  if (need.model || need.each) cheapest(fitting)?.badges.push("cheapest that fits");
  return [...fitting, ...cards.filter(({ found }) => !found.ok)];
}

function cheapest<T extends { row: Row; found: Fit }>(cards: readonly T[]): T | undefined {
  const place = ({ row, found }: T): number => (found.ok ? price(row, found.count, found.nodes)[3] : Infinity);
  return cards.reduce<T | undefined>((least, one) => (least && place(least) <= place(one) ? least : one), undefined);
}

/** Why a choice does not hold what is needed, as a sentence; empty: every GPU of the choice does. */
export function shortfall(choice: Choice, rows: readonly Row[], need: Need): string {
  for (const [place, spec] of choice.specs.entries()) {
    const row = rowOf(spec.name, rows);
    const why = row ? tooSmall(spec, row, choice.nodes, need) : "";
    if (why) return place ? `Fallback ${why}` : why;
  }
  return "";
}

function tooSmall(spec: Spec, row: Row, nodes: number, need: Need): string {
  if (row.vram < need.each) return `${spec.name} has ${row.vram} GB per GPU, less than the minimum of ${need.each} GB.`;
  if (!need.model || spec.count * nodes >= entryOf(spec.name, need)[3]) return "";
  const name = nodes > 1 ? `${nodes} × ${specText(spec)}` : specText(spec);
  return `${name} has ${(row.vram * spec.count * nodes).toLocaleString("en")} GB, and ${need.model} needs ${need.gb}.`;
}

export function rowOf(name: string | undefined, rows: readonly Row[]): Row | undefined {
  return rows.find((row) => row.name === name);
}

function entryOf(name: string, need: Need): Entry {
  return need.entries.find((entry) => entry[0] === name) ?? [name, 1, 1, 1, ""];
}
