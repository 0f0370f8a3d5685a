// Line chart of the history of one measure (uPlot, bundled). Colours follow the page's theme.

import uPlot from "uplot";
import type { Drawing, Field, History } from "./history";

/** A measure: field, title, and top of its axis if fixed. */
export interface Measure {
  field: Field;
  unit: string;
  scale: number;
  top: number | null;
}

const HEIGHT = 210;
const SPAN = 20;
/** Width in pixels per point: more points make lines unreadable and slow to draw. */
const PIXELS = 2;
/** Longest time, in milliseconds, until a reading is drawn. */
const LONGEST = 1000;

/** Colour of the n-th line: hues far apart, of equal lightness. */
function colour(place: number, alpha = 1): string {
  return `hsla(${(205 + place * 47) % 360}, 60%, 52%, ${alpha})`;
}

export class Chart {
  private plot: uPlot | null = null;
  private lines = 0;
  private focus = -1;
  private soon: ReturnType<typeof setTimeout> | undefined;
  private pause = 0;
  private readonly theme: MutationObserver;
  private readonly size: ResizeObserver;

  constructor(
    private readonly element: HTMLElement,
    private readonly history: History,
    private measure: Measure,
  ) {
    // A canvas does not follow the theme; while the theme changes, elements have no width.
    this.theme = new MutationObserver(() => requestAnimationFrame(() => this.rebuild()));
    this.theme.observe(document.body, { attributeFilter: ["data-jp-theme-name", "class"] });
    this.size = new ResizeObserver(() => this.plot?.setSize({ width: this.width, height: HEIGHT }));
    this.size.observe(element);
  }

  private get width(): number {
    return Math.max(160, Math.floor(this.element.clientWidth));
  }

  show(measure: Measure): void {
    this.measure = measure;
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
    this.theme.disconnect();
    this.size.disconnect();
    this.plot?.destroy();
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
    const drawing = this.history.drawing(this.measure.field, this.width / PIXELS);
    if (!drawing.lines.length) return;
    const seconds = drawing.times.at(-1)! - drawing.times[0]!;
    this.pause = Math.min(LONGEST, (1000 * seconds) / this.width);
    if (this.plot && drawing.lines.length === this.lines) this.plot.setData(this.columns(drawing));
    else this.build(drawing);
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
    this.lines = lines.length;
    const style = getComputedStyle(this.element);
    const [ink, grid] = [style.getPropertyValue("--mg-dim"), style.getPropertyValue("--mg-border")];
    const axis = { stroke: ink, grid: { stroke: grid, width: 0.5 }, ticks: { show: false }, font: "11px system-ui" };
    const banded = lines.some((line) => line.most);
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    const options: uPlot.Options = {
      width: this.width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false, y: false } },
      focus: { alpha: 0.25 },
      scales: {
        x: { time: false, range: (_, least, most) => [least, Math.max(most, least + SPAN)] },
        y: { range: (_, __, most) => [0, this.measure.top ?? Math.max(1, most * 1.1)] },
      },
      axes: [
        { ...axis, size: 28, values: (_, ticks) => ticks.map(seconds) },
        { ...axis, size: 46, values: (_, ticks) => ticks.map((tick) => `${tick} ${this.measure.unit}`) },
      ],
      series: [
        {},
        ...lines.map((line, place) => ({ label: line.label, stroke: colour(place), width: 1.5, points: { show: false } })),
        ...(banded ? lines.flatMap(() => [edge, edge]) : []),
      ],
      bands: banded
        ? lines.map((_, place) => {
            const first = 1 + lines.length + 2 * place;
            return { series: [first, first + 1] as [number, number], fill: colour(place, 0.18) };
          })
        : [],
    };
    this.plot = new uPlot(options, this.columns(drawing), this.element);
  }
}

function seconds(value: number): string {
  return value >= 120 ? `${Math.round(value / 6) / 10} min` : `${value} s`;
}
