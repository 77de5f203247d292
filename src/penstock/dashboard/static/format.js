// Numbers for people: a value and its unit. Money arrives in whole nano-dollars.

const NANO = 1e9;
const plain = new Intl.NumberFormat("en-US");
const oneDigit = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const UNKNOWN = "–";

/** Dollars with the digits that matter: $1,234 · $12.34 · $0.0123 · < $0.000001; null is an unknown price. */
export function money(nano) {
  if (nano === null || nano === undefined) return UNKNOWN;
  if (nano === 0) return "$0";
  const usd = nano / NANO;
  const size = Math.abs(usd);
  if (size < 1e-6) return usd < 0 ? "> −$0.000001" : "< $0.000001";
  const digits = size >= 10_000 ? 0 : size >= 0.0995 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)));
  return new Intl.NumberFormat("en-US", {
    style: "currency", currency: "USD", minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(usd);
}

/** All nine digits, for whoever wants to check. */
export function exactMoney(nano) {
  if (nano === null || nano === undefined) return "price unknown";
  const sign = nano < 0 ? "−" : "";
  const whole = BigInt(Math.abs(nano));
  const cents = String(whole % 1_000_000_000n).padStart(9, "0").replace(/0+$/, "").padEnd(2, "0");
  return `${sign}$${plain.format(whole / 1_000_000_000n)}.${cents}`;
}

/** A short number and its unit: [“1.25”, “M”]. */
export function short(number) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(number) >= size) {
      const scaled = number / (unit === "k" ? 1e3 : size);
      return [scaled >= 100 ? plain.format(Math.round(scaled)) : scaled.toPrecision(3), unit];
    }
  }
  return [plain.format(number), ""];
}

export function shortText(number) {
  return short(number).join("");
}

export function count(number) {
  return plain.format(number);
}

export function counted(number, one, many = `${one}s`) {
  return `${plain.format(number)} ${number === 1 ? one : many}`;
}

/** The mark of an axis: a whole number needs no decimals, and no other more than it has. */
export function rounded(text) {
  return text.replace(/\.0+(?!\d)/, "").replace(/(\.\d\d\d*?)0+(?!\d)/, "$1");
}

/** Seconds as [value, unit]. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return [UNKNOWN, ""];
  if (seconds === 0) return ["0", "s"];
  if (seconds < 0.001) return ["< 1", "ms"];
  if (seconds < 0.9995) return [plain.format(Math.round(seconds * 1000)), "ms"];
  if (seconds < 59.95) return [seconds < 9.995 ? seconds.toFixed(2) : oneDigit.format(seconds), "s"];
  if (seconds < 3570) return [oneDigit.format(seconds / 60), "min"];
  return [oneDigit.format(seconds / 3600), "h"];
}

export function durationText(seconds) {
  return duration(seconds).filter(Boolean).join(" ");
}

export function percent(part, whole) {
  if (!whole) return UNKNOWN;
  const share = (100 * part) / whole;
  if (part > 0 && share < 0.01) return "< 0.01 %";
  return `${share >= 10 || share === 0 ? Math.round(share) : share >= 1 ? share.toFixed(1) : share.toFixed(2)} %`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const dayYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const DAY_S = 86_400;

/** The instant in the reader's own time zone, as fine as the step of a chart; another year than this one is said. */
export function moment(seconds, stepS = 1) {
  const date = new Date(seconds * 1000);
  if (stepS >= DAY_S) return dayYear.format(date);
  const of = date.getFullYear() === new Date().getFullYear() ? weekday : dayYear;
  return `${of.format(date)}, ${(stepS < 60 ? clockSeconds : clock).format(date)}`;
}

/** A mark of a time axis. */
export function tick(seconds, spanS) {
  const date = new Date(seconds * 1000);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (spanS <= 2 * DAY_S) return midnight ? day.format(date) : clock.format(date);
  return spanS > 300 * DAY_S && date.getDate() === 1 && date.getMonth() === 0 ? String(date.getFullYear()) : day.format(date);
}

export function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 2 * DAY_S) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / DAY_S)} days ago`;
}

/** An error class as words: rate_limited → “rate limited”; a 429 says its number, because everyone looks for it. */
export function outcome(code) {
  return code === "rate_limited" ? "429 rate limited" : code.replaceAll("_", " ");
}
