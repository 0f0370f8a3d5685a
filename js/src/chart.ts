// Line chart of the history of one measure (uPlot, bundled): values at the pointer, a brush to zoom, keys for both.
// Colours follow the page's theme.

import uPlot from "uplot";
import { h, setText } from "./dom";
import { clock, shown } from "./frame";
import type { Drawing, Field, History, Line } from "./history";
import { Legend } from "./legend";

/** A measure: name, fields, unit, factor, and top of its axis if fixed. */
export interface Measure {
  label: string;
  fields: readonly Field[];
  unit: string;
  scale: number;
  top: number | null;
}

const HEIGHT = 210;
/** Least seconds on the time axis. */
const SPAN = 20;
/** Least seconds to zoom to. */
const ZOOM_SPAN = 2;
/** Width in pixels per point: more points make lines unreadable and slow to draw. */
const PIXELS = 2;
/** Longest time, in milliseconds, until a reading is drawn. */
const LONGEST = 1000;
/** Distances of the marks of the time axis, in seconds. */
const MARKS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
/** Part of the time axis that remains after one step of zooming in. */
const ZOOM_STEP = 0.5;
/** Units of which a part is noise. */
const WHOLE = new Set(["%", "W", "°C"]);
const KEYS = "arrow keys read values, + and − zoom, Escape shows all";

/** Colour of the n-th line: hues far apart, of a lightness that the page's theme sets. */
function colour(place: number, lightness: string, alpha = 1): string {
  return `hsla(${(205 + place * 47) % 360}, 60%, ${lightness}, ${alpha})`;
}

export class Chart {
  readonly element: HTMLElement;
  private readonly plotted = h("div", { class: "mgd-plot", role: "application", tabindex: "0" });
  private readonly spoken = h("span", { class: "mgd-spoken", role: "status" });
  private readonly reset = h("button", { type: "button", class: "mgd-reset", hidden: true }, "Reset zoom");
  private readonly legend = new Legend((place, isShown) => this.toggle(place, isShown));
  private plot: uPlot | null = null;
  private drawing: Drawing = { times: [], lines: [] };
  private names = "";
  private focus = -1;
  private zoom: [number, number] | null = null;
  private readonly hidden = new Set<number>();
  private isBrushing = false;
  private soon: ReturnType<typeof setTimeout> | undefined;
  private pause = 0;
  private readonly theme: MutationObserver;
  private readonly size: ResizeObserver;

  constructor(
    private readonly history: History,
    private measure: Measure,
  ) {
    this.element = h("div", { class: "mgd-chart" }, this.legend.element, h("div", { class: "mgd-framed" }, this.plotted, this.reset), this.spoken);
    this.reset.addEventListener("click", () => this.zoomTo(null));
    this.plotted.addEventListener("keydown", this.key);
    this.plotted.addEventListener("blur", () => this.point(null));
    addEventListener("mouseup", this.released);
    this.name();
    // A canvas does not follow the theme; while the theme changes, elements have no width.
    this.theme = new MutationObserver(() => requestAnimationFrame(() => this.rebuild()));
    this.theme.observe(document.body, { attributeFilter: ["data-jp-theme-name", "class"] });
    this.size = new ResizeObserver(() => this.plot?.setSize({ width: this.width, height: HEIGHT }));
    this.size.observe(this.plotted);
  }

  private get width(): number {
    return Math.max(160, Math.floor(this.plotted.clientWidth));
  }

  show(measure: Measure): void {
    this.measure = measure;
    this.hidden.clear();
    this.name();
    this.rebuild();
  }

  /** Highlight one GPU's line; -1: none. */
  highlight(place: number): void {
    this.focus = place;
    this.plot?.setSeries(place < 0 ? null : place + 1, { focus: place >= 0 });
  }

  /** Draw new readings once they cover a pixel. */
  update(): void {
    if (!this.plot) this.draw();
    else this.soon ??= setTimeout(() => this.draw(), this.pause);
  }

  end(): void {
    clearTimeout(this.soon);
    removeEventListener("mouseup", this.released);
    this.theme.disconnect();
    this.size.disconnect();
    this.plot?.destroy();
  }

  private name(): void {
    this.plotted.setAttribute("aria-label", `Chart of ${this.measure.label}: ${KEYS}`);
  }

  private rebuild(): void {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
    if (this.focus >= 0) this.highlight(this.focus);
  }

  private draw(): void {
    clearTimeout(this.soon);
    this.soon = undefined;
    if (this.isBrushing && this.plot) return;
    const [from, to] = this.zoom ?? [];
    const drawing = this.history.drawing(this.measure.fields, this.width / PIXELS, from, to);
    if (!drawing.lines.length || !drawing.times.length) return;
    this.drawing = drawing;
    const seconds = drawing.times.at(-1)! - drawing.times[0]!;
    this.pause = Math.min(LONGEST, (1000 * seconds) / this.width);
    const names = drawing.lines.map((line) => line.label).join("\n");
    if (this.plot && names === this.names) this.plot.setData(this.columns(drawing));
    else this.build(drawing);
    this.names = names;
    this.read();
  }

  private columns({ times, lines }: Drawing): uPlot.AlignedData {
    const { scale } = this.measure;
    const scaled = (values: (number | null)[]): (number | null)[] =>
      scale === 1 ? values : values.map((value) => (value === null ? null : value * scale));
    const bands = lines.flatMap((line) => (line.most && line.least ? [scaled(line.most), scaled(line.least)] : []));
    return [times, ...lines.map((line) => scaled(line.values)), ...bands];
  }

  private build(drawing: Drawing): void {
    const { lines } = drawing;
    this.plot?.destroy();
    const style = getComputedStyle(this.plotted);
    const [ink, grid] = [style.getPropertyValue("--mg-dim"), style.getPropertyValue("--mg-border")];
    const lightness = style.getPropertyValue("--mg-line").trim();
    const axis = { stroke: ink, grid: { stroke: grid, width: 0.5 }, ticks: { show: false }, font: "11px system-ui" };
    const banded = lines.some((line) => line.most);
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    const options: uPlot.Options = {
      width: this.width,
      height: HEIGHT,
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false, dist: 4 },
        bind: { dblclick: () => () => (this.zoomTo(null), null) },
      },
      focus: { alpha: 0.25 },
      scales: {
        x: { time: false, range: (_, least, most) => this.zoom ?? [least, Math.max(most, least + SPAN)] },
        y: { range: (_, __, most) => [0, this.measure.top ?? ceiling(most)] },
      },
      axes: [
        { ...axis, size: 28, space: 60, incrs: MARKS, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => `${tick} ${this.measure.unit}`) },
      ],
      series: [
        {},
        ...lines.map((line, place) => ({
          label: line.label,
          stroke: colour(place, lightness),
          width: 1.5,
          points: { show: false },
          show: !this.hidden.has(place),
        })),
        ...(banded ? lines.flatMap((_, place) => [edge, edge].map((each) => ({ ...each, show: !this.hidden.has(place) }))) : []),
      ],
      bands: banded
        ? lines.map((_, place) => {
            const first = 1 + lines.length + 2 * place;
            return { series: [first, first + 1] as [number, number], fill: colour(place, lightness, 0.18) };
          })
        : [],
      hooks: {
        setCursor: [() => this.read()],
        setSelect: [(plot) => this.brush(plot)],
        ready: [(plot) => plot.over.addEventListener("mousedown", () => (this.isBrushing = true))],
      },
    };
    const entries = lines.map((line, place) => ({ label: line.label || this.measure.label, colour: colour(place, lightness), isShown: !this.hidden.has(place) }));
    this.legend.build(entries);
    this.plot = new uPlot(options, this.columns(drawing), this.plotted);
  }

  /** Show the values at the pointer; without a pointer, the latest. */
  private read(): void {
    const { times, lines } = this.drawing;
    const pointed = this.plot?.cursor.idx ?? null;
    const index = pointed ?? times.length - 1;
    const time = times[index];
    if (time === undefined) return;
    this.legend.show(clock(time), lines.map((line) => this.valueText(line, index)), pointed === null);
  }

  private valueText(line: Line, index: number): string {
    const { scale, unit } = this.measure;
    const text = (value: number): string => (WHOLE.has(unit) ? shown(value * scale) : precise(value * scale));
    const value = line.values[index];
    if (value === null || value === undefined) return "–";
    const [low, high] = [line.least?.[index], line.most?.[index]];
    const band = typeof low === "number" && typeof high === "number" && text(low) !== text(high) ? ` (${text(low)} to ${text(high)})` : "";
    return `${text(value)}${band} ${unit}`;
  }

  /** Hide or show a line and its band. */
  private toggle(place: number, isShown: boolean): void {
    if (isShown) this.hidden.delete(place);
    else this.hidden.add(place);
    const { lines } = this.drawing;
    const edge = 1 + lines.length + 2 * place;
    const series = lines[place]?.most ? [place + 1, edge, edge + 1] : [place + 1];
    for (const each of series) this.plot?.setSeries(each, { show: isShown });
  }

  private readonly released = (): void => {
    if (!this.isBrushing) return;
    this.isBrushing = false;
    this.update();
  };

  private brush(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width <= 0) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.isBrushing = false;
    this.zoomTo([from, to]);
  }

  /** Show a part of the time axis; null: all. */
  private zoomTo(range: [number, number] | null): void {
    const end = this.history.end;
    if (range) {
      const [from, to] = range;
      const span = Math.max(ZOOM_SPAN, to - from);
      const start = Math.max(0, Math.min((from + to - span) / 2, end - span));
      this.zoom = span >= Math.max(end, SPAN) ? null : [start, start + span];
    } else {
      this.zoom = null;
    }
    this.reset.hidden = !this.zoom;
    if (!this.zoom && document.activeElement === this.reset) this.plotted.focus();
    this.draw();
  }

  /** Put the pointer on a point of the lines; null: on none. */
  private point(index: number | null): void {
    const { plot } = this;
    const time = index === null ? undefined : this.drawing.times[index];
    if (!plot) return;
    plot.setCursor({ left: time === undefined ? -10 : plot.valToPos(time, "x"), top: time === undefined ? -10 : HEIGHT / 3 });
    if (time !== undefined) setText(this.spoken, this.legend.words);
  }

  private readonly key = (event: KeyboardEvent): void => {
    const { plot } = this;
    if (!plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.drawing.times.length - 1;
    const at = plot.cursor.idx ?? last;
    const step = event.shiftKey ? 10 : 1;
    const moves: Record<string, number> = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: last };
    const move = moves[event.key];
    if (move !== undefined) this.point(Math.max(0, Math.min(last, move)));
    else if (event.key === "+" || event.key === "=") this.zoomAround(at, ZOOM_STEP);
    else if (event.key === "-" || event.key === "−") this.zoomAround(at, 1 / ZOOM_STEP);
    else if (event.key === "Escape" || event.key === "0") this.zoomTo(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  private zoomAround(index: number, factor: number): void {
    const { times } = this.drawing;
    const [from, to] = this.zoom ?? [times[0] ?? 0, Math.max(this.history.end, SPAN)];
    const centre = times[index] ?? (from + to) / 2;
    const span = (to - from) * factor;
    this.zoomTo([centre - span / 2, centre + span / 2]);
    const nearest = this.drawing.times.findIndex((time) => time >= centre);
    this.point(nearest < 0 ? this.drawing.times.length - 1 : nearest);
  }
}

/** A number with as many digits as tell values apart: `0.04`, `1.2`, `48`. */
export function precise(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 9.95 || size === 0 ? 0 : size >= 0.995 ? 1 : 2);
}

/** The top of an axis: above all values, and not so low that noise fills the chart. */
function ceiling(most: number | null): number {
  return most && most > 0 ? most * 1.1 : 1;
}
