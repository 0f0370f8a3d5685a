// Bars below cells of the notebook that a widget without a view belongs to.
//
// JupyterLab and Notebook 7 give a widget the notebook's model, and not its panel. The panel is found in the page: the only
// one, or the one whose tab names the notebook's path (the tab's title has a line `Path: …`). Cells are found by the index
// that the notebook writes into the page, else by their order. Tested with JupyterLab 4.6 and Notebook 7.6. Symptom if
// this breaks: no bar is shown. The classic notebook, VS Code and Colab give no model: no bar is shown there.

import type { Outputs } from "./outputs";

/** A cell's model, as far as it is used. */
export interface CellModel {
  readonly id: string;
  readonly type?: string;
  outputs?: Outputs;
  executionCount?: number | null;
  executionState?: string;
  /** Whether JupyterLab shows widgets and scripts in the outputs. */
  trusted?: boolean;
}

interface Signal {
  connect(slot: () => void): unknown;
  disconnect(slot: () => void): unknown;
}

type CellList = Iterable<CellModel> & { changed?: Signal };

/** The notebook of a widget: JupyterLab's document context. */
export interface NotebookContext {
  readonly path?: string;
  readonly model?: { cells?: CellList };
}

const CELL = ".jp-Notebook .jp-Cell";
const OUTPUT = ".jp-OutputArea-child";
const SHOWN = ".jp-OutputArea-output";
const DEAD = "Error displaying widget"; // JupyterLab's words, of the widget manager 5.0
/** Milliseconds in which JupyterLab has looked for the model of a saved widget. */
const SEARCH_MS = 30_000;
const PANEL = ".jp-NotebookPanel";
const INDEX = "data-windowed-list-index";

/** Return the notebook of a widget's manager; undefined: the front end gives none. */
export function contextOf(manager: unknown): NotebookContext | undefined {
  const context = (manager as { context?: NotebookContext } | undefined)?.context;
  return context?.model?.cells ? context : undefined;
}

/** Return the cells of a notebook in order. */
export function cellsOf(context: NotebookContext): CellModel[] {
  return [...(context.model?.cells ?? [])];
}

/** Keeps bars below cells while the notebook draws, moves and removes these. */
export class Bars {
  private readonly bars = new Map<string, HTMLElement>();
  private readonly watched = new Map<Element, MutationObserver>();
  private due = false;

  constructor(private readonly context: NotebookContext) {
    context.model?.cells?.changed?.connect(this.arrange);
  }

  /** Whether a bar is below the cell. */
  has(cell: string): boolean {
    return this.bars.has(cell);
  }

  /** Whether no bar is shown. */
  get isEmpty(): boolean {
    return this.bars.size === 0;
  }

  /** Show a bar below a cell, instead of the one before. */
  put(cell: string, bar: HTMLElement): void {
    this.remove(cell);
    bar.dataset["lmSuppressShortcuts"] = "true"; // keys in a bar are no commands of the notebook
    bar.addEventListener("keydown", (event) => event.stopPropagation());
    this.bars.set(cell, bar);
    this.place();
  }

  /** Remove the bar of a cell. */
  remove(cell: string): void {
    this.bars.get(cell)?.remove();
    this.bars.delete(cell);
  }

  /** Remove all bars. */
  clear(): void {
    for (const cell of [...this.bars.keys()]) this.remove(cell);
  }

  /** Remove all bars and stop looking at the notebook. */
  end(): void {
    this.clear();
    this.context.model?.cells?.changed?.disconnect(this.arrange);
    for (const observer of this.watched.values()) observer.disconnect();
    this.watched.clear();
  }

  /** Place the bars once, after the notebook has drawn its cells. */
  private readonly arrange = (): void => {
    if (this.due || this.isEmpty) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.place();
    });
  };

  /** Hide what JupyterLab shows instead of a widget whose kernel has ended, in these cells, also what it shows soon. */
  hideDeadWidgets(cells: readonly string[]): void {
    const places = this.places();
    for (const id of cells) {
      const cell = places.find(id);
      if (!cell || this.watched.has(cell)) continue;
      hideDeadIn(cell);
      const observer = new MutationObserver(() => hideDeadIn(cell));
      observer.observe(cell, { childList: true, subtree: true, characterData: true });
      this.watched.set(cell, observer);
      setTimeout(() => observer.disconnect(), SEARCH_MS);
    }
  }

  /** Find the element of a cell by its id. */
  private places(): { drawn: Map<number, Element>[]; find(id: string): Element | undefined } {
    const indexes = new Map(cellsOf(this.context).map((cell, index) => [cell.id, index]));
    const drawn = panelsOf(this.context.path ?? "").map(drawnCells);
    const find = (id: string): Element | undefined => {
      const index = indexes.get(id);
      return index === undefined ? undefined : drawn.map((cells) => cells.get(index)).find((each) => each);
    };
    return { drawn, find };
  }

  private place(): void {
    const { drawn, find } = this.places();
    for (const [id, bar] of this.bars) {
      const cell = find(id);
      if (!cell) bar.remove();
      else if (bar.parentElement !== cell) cell.insertBefore(bar, cell.querySelector(":scope > .jp-CellFooter"));
    }
    for (const cells of drawn) for (const cell of cells.values()) this.watch(cell.parentElement);
  }

  /** A notebook that draws only the cells in view adds and removes their elements. */
  private watch(list: Element | null): void {
    if (!list || this.watched.has(list)) return;
    const observer = new MutationObserver(this.arrange);
    observer.observe(list, { childList: true });
    this.watched.set(list, observer);
  }
}

function hideDeadIn(cell: Element): void {
  for (const output of cell.querySelectorAll<HTMLElement>(OUTPUT)) {
    const shown = output.querySelector(SHOWN);
    if (!shown?.childElementCount && shown?.textContent?.startsWith(DEAD)) output.style.display = "none";
  }
}

/** Return the panels in the page that show the notebook of this path. */
function panelsOf(path: string): Element[] {
  const panels = [...document.querySelectorAll(PANEL)];
  if (panels.length < 2) return panels;
  const shown = new Set(
    [...document.querySelectorAll<HTMLElement>(".lm-TabBar-tab[data-id]")]
      .filter((tab) => tab.title.split("\n").some((line) => line.endsWith(`: ${path}`)))
      .map((tab) => tab.dataset["id"]),
  );
  return panels.filter((panel) => shown.has(panel.id));
}

/** Return the drawn cells of a panel, by their index in the notebook. */
function drawnCells(panel: Element): Map<number, Element> {
  const cells = [...panel.querySelectorAll(CELL)];
  const said = cells.map((cell) => cell.closest(`[${INDEX}]`)?.getAttribute(INDEX));
  return new Map(cells.map((cell, order) => [said[order] ? Number(said[order]) : order, cell]));
}
