import { useEffect, useState } from "preact/hooks";
import { getJson } from "../api/client";
import type { Completions } from "../api/types";
import { complete, merged, partAt, type Completion } from "../query/complete";
import { settings } from "../state/settings";

const PAUSE_MS = 120;

const EXAMPLES: readonly [string, string][] = [
  ["two dogs on a beach", "what the picture shows"],
  ["a red car -people", "and no people"],
  ["children playing after:2020", "taken from 2020 on"],
  ['"birthday cake"', "also in names, tags and captions"],
];

/** What the list below the box offers: our own completions at once, the service's when they come. */
export function useCompletions(words: string, cursor: number, isOpen: boolean, isEmpty: boolean): Completion[] {
  const [served, setServed] = useState<{ words: string; found: Completions | null }>({ words: "", found: null });
  useEffect(() => {
    if (!isOpen || partAt(words, cursor).raw.length < 2) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const path = `/v1/complete?text=${encodeURIComponent(words)}&at=${cursor}`;
      getJson<Completions>(path, stop.signal)
        .then((found) => setServed({ words, found }))
        .catch(() => undefined); // without them ours are there
    }, PAUSE_MS);
    return () => (clearTimeout(timer), stop.abort());
  }, [words, cursor, isOpen]);
  if (!isOpen) return [];
  if (isEmpty) return recent();
  return merged(complete(words, cursor, new Date()), served.words === words ? served.found : null, words);
}

const line = (text: string, hint: string): Completion => ({ text, start: 0, end: 0, hint, open: false });

/** What was searched before; before the first search, what can be. */
function recent(): Completion[] {
  const { recent: searches } = settings.get();
  if (!searches.length) return EXAMPLES.map(([text, hint]) => line(text, hint));
  return [...searches.map((text) => line(text, "searched before")), { ...line("Forget these", ""), forgets: true }];
}
