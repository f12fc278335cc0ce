import { createStore, useStore } from "../state/store";

/** What is told in passing: aloud to screen readers, and as a note at the edge. */
const said = createStore<{ aloud: string; note: string; turn: number }>({ aloud: "", note: "", turn: 0 });

let timer = 0;

/** To screen readers only: what others see anyway. */
export const announce = (aloud: string): void => said.set({ aloud });

/** To everybody, for some seconds. */
export function note(text: string): void {
  clearTimeout(timer);
  said.set(({ turn }) => ({ note: text, aloud: text, turn: turn + 1 }));
  timer = setTimeout(() => said.set({ note: "" }), 4500);
}

export function Said() {
  const { aloud, note: text, turn } = useStore(said, (value) => value);
  return (
    <>
      <div class="hidden" role="status" aria-live="polite">{aloud}</div>
      {text && <div class="note" key={turn} aria-hidden="true">{text}</div>}
    </>
  );
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    note(`${what} copied`);
  } catch {
    note(`The browser does not let the page copy. ${what}: ${text}`);
  }
}
