// What a notebook's saved outputs say of detached sessions, and which cell may be continued. Pure.
//
// Whoever wrote the file wrote these texts: they only ask the kernel, which answers for the sessions that exist.

import type { CellModel } from "./bars";

/** What the outputs of a cell say. `run` is empty where the cell attached to a session. */
export interface Recorded {
  cell: string;
  session: string;
  run: string;
  /** Whether the notebook has the receipt: the end of the run was seen. */
  isFinished: boolean;
}

/** What the kernel says of a session. `line` continues the session. */
export interface Found {
  session: string;
  run: string;
  state: "waiting" | "running" | "ended";
  line: string;
}

/** A cell whose run the kernel can continue. */
export interface Offer {
  found: Found;
  recorded: Recorded;
}

const MARK = "modal_gpu";
/** Most characters of a name that is asked about. */
const MOST_CHARACTERS = 200;

/** Return what the outputs of the cells say, in the order of the cells. */
export function recordedIn(cells: readonly CellModel[]): Recorded[] {
  return cells.flatMap((cell) => recordedOf(cell) ?? []);
}

function recordedOf({ id, outputs }: CellModel): Recorded | undefined {
  const said: Recorded = { cell: id, session: "", run: "", isFinished: false };
  for (let index = 0; index < (outputs?.length ?? 0); index += 1) {
    const mark = outputs!.get(index)?.metadata?.[MARK] as Record<string, unknown> | null | undefined;
    const session = text(mark?.["session"]);
    if (!session) continue;
    const isSame = session === said.session;
    said.session = session;
    said.run = text(mark?.["run"]);
    said.isFinished = (isSame && said.isFinished) || mark?.["kind"] === "receipt";
  }
  return said.session ? said : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" && value.length <= MOST_CHARACTERS ? value : "";
}

/** Return for each session the one cell that shows its last run: the cell of that run, else the last that attached to it. */
export function offersFor(recorded: readonly Recorded[], found: readonly Found[]): Offer[] {
  return found.flatMap((each) => {
    const own = recorded.filter(({ session }) => session === each.session);
    const cell = own.filter(({ run }) => run === each.run).at(-1) ?? own.filter(({ run }) => !run).at(-1);
    return cell ? [{ found: each, recorded: cell }] : [];
  });
}

/** Return the words before the session's name, and those after it. */
export function wordsOf({ found, recorded }: Offer): [string, string] {
  if (found.state === "waiting") return ["Still waiting for its container, in session ", ""];
  if (found.state === "running") return ["Still running in session ", ""];
  return recorded.isFinished ? ["Session ", " can be continued"] : ["Ended while you were away, in session ", ""];
}
