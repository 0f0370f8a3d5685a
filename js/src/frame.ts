// One reading of a node: little-endian float32, NaN for unknown values. Pure.
//
// Layout: time (s since the first reading), node, number of GPUs n, then of the container CPU (%), cores, memory used
// (MiB), total memory (MiB), disk (bytes/s), used space (MiB), size of the file system (MiB), received (bytes/s), sent
// (bytes/s), then n each of utilisation (%), memory used (MiB), total memory (MiB), power (W), temperature (°C), 1 if the
// clocks are throttled, else 0. `ui/widgets/frames.py` packs the reading.

export interface Gpu {
  utilisation: number;
  used: number;
  total: number;
  power: number;
  temperature: number;
  /** Whether the clocks are throttled; false if unknown. */
  throttled: boolean;
}

/** A container's own use of its machine. */
export interface Host {
  cpu: number;
  cores: number;
  memory: number;
  memoryTotal: number;
  disk: number;
  space: number;
  spaceTotal: number;
  received: number;
  sent: number;
}

/** Temperature in °C from which a GPU is marked as hot, since throttling is near (Modal's guide: from the mid-70s on). */
const HOT = 85;

/** Return a GPU's problem in a word; empty: none. */
export function trouble(gpu: Gpu): string {
  return gpu.throttled ? "throttled" : gpu.temperature >= HOT ? "hot" : "";
}

export interface Frame {
  time: number;
  node: number;
  host: Host;
  gpus: Gpu[];
}

const HOST: readonly (keyof Host)[] = ["cpu", "cores", "memory", "memoryTotal", "disk", "space", "spaceTotal", "received", "sent"];
const PLACE = 3;
const HEAD = PLACE + HOST.length;
const FIELDS = 6;

/** Decode the readings in a message's buffer; an incomplete last one is dropped. */
export function decode(view: DataView): Frame[] {
  const frames: Frame[] = [];
  const size = Math.floor(view.byteLength / 4);
  const at = (index: number): number => view.getFloat32(index * 4, true);
  for (let start = 0; start + HEAD <= size; ) {
    const n = at(start + 2);
    const end = start + HEAD + n * FIELDS;
    if (!(n >= 0) || end > size) break;
    const gpus = Array.from({ length: n }, (_, gpu) => {
      const value = (field: number): number => at(start + HEAD + field * n + gpu);
      const [utilisation, used, total, power, temperature] = [value(0), value(1), value(2), value(3), value(4)];
      return { utilisation, used, total, power, temperature, throttled: value(5) === 1 };
    });
    const from = start + PLACE;
    const host = Object.fromEntries(HOST.map((field, place) => [field, at(from + place)])) as unknown as Host;
    frames.push({ time: at(start), node: at(start + 1), host, gpus });
    start = end;
  }
  return frames;
}

/** The mean of the known values; NaN without any. */
export function mean(values: readonly number[]): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}

/** Format a number; `–` if unknown. */
export function shown(value: number, digits = 0): string {
  return Number.isNaN(value) ? "–" : value.toFixed(digits);
}

/** `9.8/80 GiB`, from MiB; `30 MiB/80 GiB`; `80 GiB` if only the size is known, empty if nothing is. */
export function memoryText(gpu: Gpu): string {
  const known = [gpu.used, gpu.total].filter((mib) => !Number.isNaN(mib)).map(memory);
  const unit = known.every((text) => text.endsWith(" GiB")) ? " GiB" : "";
  return known.length === 2 ? `${known[0]!.slice(0, unit ? -unit.length : undefined)}/${known[1]}` : (known[0] ?? "");
}

const NO_BREAK = "\u00a0";

/** A GPU's numbers without the unknown ones, `9.8/80 GiB · 410 W · 64°`; a narrow tile breaks the line behind a dot. */
export function gpuText(gpu: Gpu): string {
  const parts = [memoryText(gpu), valueText(gpu.power, " W"), valueText(gpu.temperature, "°")];
  const whole = parts.filter((part) => part).map((part) => part.replaceAll(" ", NO_BREAK));
  return whole.join(`${NO_BREAK}· `);
}

/** A whole number with its unit; empty if unknown. */
export function valueText(value: number, unit: string): string {
  return Number.isNaN(value) ? "" : `${shown(value)}${unit}`;
}

/** `9.8`, `80`: GiB of MiB. */
export function gib(mib: number): string {
  return shown(mib / 1024, Math.round((mib / 1024) * 10) < 100 ? 1 : 0);
}

/** `9.8 GiB`, `30 MiB`: an amount below 0.05 GiB is shown in MiB, as `metrics/memory_text.py` does. */
export function memory(mib: number): string {
  if (mib / 1024 >= 0.05) return `${gib(mib)} GiB`;
  return mib > 0 && mib < 0.5 ? "<1 MiB" : `${shown(mib)} MiB`;
}

/** `0:41`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
