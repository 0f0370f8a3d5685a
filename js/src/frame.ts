// One reading of a node's GPUs as it crosses: little-endian float32, NaN where a value is unknown. Pure.
//
// Layout: time (s since the run or session began), node, number of GPUs n, then n each of utilisation (%),
// memory used (MiB), memory there is (MiB), power (W), temperature (°C), 1 if its clocks are held down, else 0.
// `ui/widgets/frames.py` writes it.

export interface Gpu {
  utilisation: number;
  used: number;
  total: number;
  power: number;
  temperature: number;
  /** Whether its clocks are held down; unknown counts as no. */
  throttled: boolean;
}

/** Degrees Celsius from which a GPU is marked: its clocks go down soon (Modal's guide: the mid-70s already cost). */
const HOT = 85;

/** What is wrong with a GPU, in a word; empty: nothing is seen. */
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

/** The frames in a message's buffer, one behind the other. What is cut off at its end is left out. */
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

/** The mean of what is known, NaN if nothing is. */
export function mean(values: readonly number[]): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}

/** A number as it is shown, `–` where it is unknown. */
export function shown(value: number, digits = 0): string {
  return Number.isNaN(value) ? "–" : value.toFixed(digits);
}

/** `9.8/80 GB`, from MiB. */
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
