/** Numbers, dates and paths as people read them. */

const WHOLE = new Intl.NumberFormat("en");

export const count = (number: number): string => WHOLE.format(number);

/** "1 picture", "2,000 pictures". */
export const counted = (number: number, one: string, many = `${one}s`): string =>
  `${count(number)} ${number === 1 ? one : many}`;

/** Bytes by thousands, as the query language counts them. */
export function bytes(number: number): string {
  if (number < 1000) return `${number} B`;
  const power = Math.min(4, Math.floor(Math.log10(number) / 3));
  const value = number / 1000 ** power;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const percent = (share: number): string => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
};

export const score = (value: number | null): string => (value === null ? "" : value.toFixed(3));

/** A moment as the service tells it: ISO text, or seconds. */
export function moment(value: string | number | null | undefined): Date | null {
  if (value === null || value === undefined || value === "") return null;
  // "2023-05-17 10:20:30" is the clock of a camera: no zone, so read as local time.
  const date = new Date(typeof value === "number" ? value * 1000 : value.replace(" ", "T"));
  return Number.isNaN(date.getTime()) ? null : date;
}

export function dateTime(value: string | number | null | undefined): string {
  const date = moment(value);
  return date ? date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "";
}

/** A duration in seconds: "4 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds: number): string {
  if (seconds < 1) return "less than 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

/** The folder of a path, shortened in its middle. */
export function folder(path: string, most = 60): string {
  const cut = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const whole = cut > 0 ? path.slice(0, cut) : "";
  if (whole.length <= most) return whole;
  const half = Math.floor((most - 1) / 2);
  return `${whole.slice(0, half)}…${whole.slice(-half)}`;
}

/** Rows as CSV with a first line of names (RFC 4180); what a spreadsheet would run is kept a text. */
export function csv(rows: readonly Record<string, unknown>[], columns: readonly string[]): string {
  const cell = (value: unknown): string => {
    const text = Array.isArray(value) ? value.join("; ") : value === null || value === undefined ? "" : String(value);
    const tame = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(tame) ? `"${tame.replaceAll('"', '""')}"` : tame;
  };
  return [columns.join(","), ...rows.map((row) => columns.map((name) => cell(row[name])).join(","))].join("\r\n") + "\r\n";
}
