import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { apply, type Completion } from "../query/complete";
import { join, lift, split, type Draft } from "../query/edit";
import { parse, type Part } from "../query/parse";
import { go, place } from "../state/place";
import { remember } from "../state/settings";
import { useStore } from "../state/store";

const PAUSE_MS = 300;
const NOTHING: Draft = { chips: [], words: "" };

export interface Drafting {
  draft: Draft;
  cursor: number;
  moveTo: (cursor: number) => void;
  type: (words: string, cursor: number) => void;
  submit: () => void;
  edit: (chip: Part) => void;
  remove: (chip: Part) => void;
  /** Put a part in the place of a chip. */
  change: (chip: Part, raw: string) => void;
  complete: (one: Completion) => void;
  replace: (query: string) => void;
}

/** The query while it is being typed. It is searched for when one stops a moment, and for good with Enter. */
export function useDraft(input: RefObject<HTMLInputElement | null>): Drafting {
  const query = useStore(place, (route) => route.query);
  const [draft, setDraft] = useState<Draft>(() => split(query));
  const [cursor, setCursor] = useState(0);
  // sent: the query that the route has from here. typing: its step in the history may still be changed.
  const state = useRef({ sent: query, typing: false, timer: 0 }).current;
  useEffect(() => {
    if (query === state.sent) return;
    Object.assign(state, { sent: query, typing: false });
    setDraft(split(query));
  }, [query]);

  const commit = (next: Draft, isFinal: boolean) => {
    clearTimeout(state.timer);
    const replace = state.typing;
    Object.assign(state, { sent: join(next), typing: !isFinal });
    if (isFinal) remember(state.sent);
    go({ view: "search", name: "", query: state.sent, item: null }, replace);
  };
  const focusAt = (at: number) => {
    setCursor(at);
    requestAnimationFrame(() => (input.current?.focus(), input.current?.setSelectionRange(at, at)));
  };
  const type = (words: string, at: number) => {
    const next = lift({ chips: draft.chips, words });
    setDraft(next);
    setCursor(next.words === words ? at : next.words.length);
    clearTimeout(state.timer);
    // What is not finished would only be an error.
    if (parse(next.words).every((part) => part.whole)) state.timer = setTimeout(() => commit(next, false), PAUSE_MS);
  };
  const finish = (next: Draft) => {
    setDraft(next);
    commit(next, true);
  };
  return {
    draft,
    cursor,
    moveTo: setCursor,
    type,
    submit: () => {
      const { chips, words } = lift({ ...draft, words: `${draft.words} ` });
      finish({ chips, words: words.trimEnd() });
    },
    edit: (chip) => {
      const words = [draft.words.trim(), chip.raw].filter(Boolean).join(" ");
      setDraft({ chips: draft.chips.filter((one) => one !== chip), words });
      focusAt(words.length);
    },
    remove: (chip) => {
      finish({ ...draft, chips: draft.chips.filter((one) => one !== chip) });
      input.current!.focus();
    },
    change: (chip, raw) => finish({ ...draft, chips: draft.chips.flatMap((one) => (one === chip ? parse(raw) : [one])) }),
    complete: (one) => {
      const { text, cursor: at } = apply(draft.words, one);
      type(text, at);
      focusAt(at);
    },
    replace: (text) => finish(text ? split(text) : NOTHING),
  };
}
