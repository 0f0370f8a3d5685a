// One reading of a node's GPUs: little-endian float32, NaN for unknown values. Pure.
//
// Layout: time (s since the run or session began), node, number of GPUs n, then n each of utilisation (%),
// memory used (MiB), total memory (MiB), power (W), temperature (°C), 1 if the clocks are throttled, else 0.
// `ui/widgets/frames.py` packs the reading.

export interface Gpu {
  utilisation: number;
  used: number;
  total: number;
  power: number;
  temperature: number;
  /** Whether the clocks are throttled; false if unknown. */
  throttled: boolean;
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
  gpus: Gpu[];
}

const HEAD = 3;
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
    frames.push({ time: at(start), node: at(start + 1), gpus });
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

/** `9.8/80 GiB`, from MiB. */
export function memoryText(gpu: Gpu): string {
  const gb = (mib: number): string => (Number.isNaN(mib) ? "–" : mib < 10 * 1024 ? (mib / 1024).toFixed(1) : String(Math.round(mib / 1024)));
  return `${gb(gpu.used)}/${gb(gpu.total)} GiB`;
}

/** `0:41`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
