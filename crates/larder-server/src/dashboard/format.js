// Figures as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345 up to a million, then 1.2M. */
export const count = (value) => (value < 1e6 ? whole.format(value) : short.format(value));

/** 12.3 below a hundred, then whole. */
export const rate = (value) => (value > 0 && value < 100 ? value.toFixed(1) : count(value));

/** 97.3 %; a hundred only if it is exactly that. */
export function percent(part) {
  if (part >= 1) return "100 %";
  return `${Math.min(part * 100, 99.99).toFixed(part > 0.995 ? 2 : 1)} %`;
}

/** 850 µs, 1.2 ms, 3.4 s. */
export function duration(us) {
  if (us < 1000) return `${whole.format(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}

/** 512 B, 3.4 KiB, 12 MiB. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** 42 s, 3 min 5 s, 2 h 4 min, 3 d 5 h. */
export function age(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  let rest = Math.floor(seconds);
  return parts.slice(first, first + 2).map(([unit, size]) => {
    const value = Math.floor(rest / size);
    rest -= value * size;
    return value ? `${value} ${unit}` : "";
  }).filter(Boolean).join(" ");
}
