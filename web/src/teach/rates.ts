import type { ErrorRate } from "../api/types";
import { count, percent } from "../format";

/** With fewer marks of a kind the service states no rate. */
const FEWEST = 5;

/** A rate with its interval, or how many marks are missing for one. */
export const said = (rate: ErrorRate | null, marked: number, how: string): string =>
  rate
    ? `${count(rate.wrong)} of ${count(rate.of)} (${percent(rate.rate)}, 95 % interval ${percent(rate.low)} to ${percent(rate.high)})`
    : `not known: mark ${count(Math.max(1, FEWEST - marked))} more “${how}”`;
