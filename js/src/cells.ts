// The cells of the notebook that shows a widget: read and written through what each front end gives a widget.
//
// IPython's `set_next_input` is no way: its payload is a part of an execute reply, and the reply to a comm message is
// none, so the cell would appear when the next cell runs (jupyterlab#8893). JupyterLab and Notebook 7 give a widget's
// manager the notebook's model (`context`, tested with JupyterLab 4.6, Notebook 7.6); the classic notebook is a global
// (nbclassic 1.3). VS Code and Colab give neither: `cellsAround` returns null.

import type { AnyModel } from "@anywidget/types";

/** The cells of a notebook, as far as they are used. `own`: index of the cell that shows the widget. */
export interface Cells {
  readonly own: number;
  readonly count: number;
  isCode(index: number): boolean;
  source(index: number): string;
  write(index: number, source: string): void;
  /** Insert a code cell before the cell with this index. */
  insert(index: number, source: string): void;
}

interface SharedCell {
  cell_type: string;
  id: string;
  getSource(): string;
  setSource(source: string): void;
}

/** The notebook's shared model: `ISharedNotebook` of @jupyter/ydoc. */
interface SharedNotebook {
  cells: readonly SharedCell[];
  insertCell(index: number, cell: { cell_type: "code"; source: string; metadata: object }): unknown;
}

interface ClassicCell {
  cell_type: string;
  element: { 0?: Element };
  get_text(): string;
  set_text(text: string): void;
}

interface ClassicNotebook {
  get_cells(): ClassicCell[];
  insert_cell_at_index(type: "code", index: number): ClassicCell;
}

/** Return the cells around `element`, which a widget draws; null: the front end gives widgets no access to cells. */
export function cellsAround<T extends { cell: string }>(model: AnyModel<T>, element: Element): Cells | null {
  const manager = model.widget_manager as unknown as
    | { context?: { model?: { sharedModel?: SharedNotebook; readOnly?: boolean } } }
    | undefined;
  const notebook = manager?.context?.model;
  const shared = notebook?.sharedModel;
  if (shared?.cells && typeof shared.insertCell === "function") {
    return notebook?.readOnly ? null : labCells(shared, element, model.get("cell"));
  }
  const classic = (globalThis as { Jupyter?: { notebook?: ClassicNotebook } }).Jupyter?.notebook;
  return classic ? classicCells(classic, element) : null;
}

function labCells(shared: SharedNotebook, element: Element, made: string): Cells | null {
  const own = labIndex(element) ?? shared.cells.findIndex((cell) => cell.id === made);
  if (own < 0 || own >= shared.cells.length) return null;
  return {
    own,
    count: shared.cells.length,
    isCode: (index) => shared.cells[index]?.cell_type === "code",
    source: (index) => shared.cells[index]?.getSource() ?? "",
    write: (index, source) => shared.cells[index]?.setSource(source),
    insert: (index, source) => void shared.insertCell(index, { cell_type: "code", source, metadata: {} }),
  };
}

/** The index of the cell around an element. A notebook that draws only the cells in view says the index in the page. */
function labIndex(element: Element): number | undefined {
  const cell = element.closest(".jp-Cell");
  const said = cell?.closest("[data-windowed-list-index]")?.getAttribute("data-windowed-list-index");
  if (said) return Number(said);
  const all = cell?.closest(".jp-Notebook")?.querySelectorAll(".jp-Cell");
  return cell && all ? [...all].indexOf(cell) : undefined;
}

function classicCells(notebook: ClassicNotebook, element: Element): Cells | null {
  const cells = notebook.get_cells();
  const own = cells.findIndex((cell) => cell.element[0]?.contains(element));
  if (own < 0) return null;
  return {
    own,
    count: cells.length,
    isCode: (index) => cells[index]?.cell_type === "code",
    source: (index) => cells[index]?.get_text() ?? "",
    write: (index, source) => cells[index]?.set_text(source),
    insert: (index, source) => notebook.insert_cell_at_index("code", index).set_text(source),
  };
}
