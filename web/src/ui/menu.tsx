import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { createStore, useStore } from "../state/store";
import { Icon, type IconName } from "./icon";

export interface Choice {
  text: string;
  icon: IconName;
  key?: string;
  act: () => void;
}

/** The one menu that is open. It lies outside of the grid, whose tiles come and go. */
const open = createStore<{ at: DOMRect | null; choices: Choice[]; opener: HTMLElement | null; name: string }>({
  at: null, choices: [], opener: null, name: "",
});

export function openMenu(opener: HTMLElement, name: string, choices: Choice[]): void {
  open.set({ at: opener.getBoundingClientRect(), choices, opener, name });
}

function close(refocus: boolean): void {
  const { opener } = open.get();
  open.set({ at: null, opener: null });
  if (refocus) opener?.focus();
}

export function Menu() {
  const { at, choices, name } = useStore(open, (value) => value);
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!at || !box.current) return;
    const { offsetWidth: width, offsetHeight: height } = box.current;
    const below = at.bottom + height + 8 < innerHeight;
    const left = at.left < innerWidth / 2 && at.left + width < innerWidth - 8 ? at.left : at.right - width;
    box.current.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    box.current.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - height - 4)}px`;
    (box.current.firstElementChild as HTMLElement).focus();
  }, [at]);
  useEffect(() => {
    if (!at) return;
    const away = (event: Event) => !box.current?.contains(event.target as Node) && close(false);
    const gone = () => close(false);
    addEventListener("pointerdown", away);
    addEventListener("scroll", gone, { passive: true });
    return () => (removeEventListener("pointerdown", away), removeEventListener("scroll", gone));
  }, [at]);
  if (!at) return null;
  return (
    <div class="menu" role="menu" aria-label={name} ref={box} onKeyDown={steer}>
      {choices.map((choice) => (
        <button key={choice.text} role="menuitem" tabIndex={-1} onClick={() => (close(true), choice.act())}>
          <Icon name={choice.icon} />
          <span>{choice.text}</span>
          {choice.key && <kbd>{choice.key}</kbd>}
        </button>
      ))}
    </div>
  );
}

function steer(event: KeyboardEvent): void {
  const all = [...(event.currentTarget as HTMLElement).children] as HTMLElement[];
  const now = all.indexOf(document.activeElement as HTMLElement);
  const next: Record<string, number> = { ArrowDown: now + 1, ArrowUp: now - 1 + all.length, Home: 0, End: all.length - 1 };
  event.stopPropagation();
  if (event.key === "Escape" || event.key === "Tab") close(true);
  else if (!(event.key in next)) return;
  else all[next[event.key]! % all.length]?.focus();
  event.preventDefault();
}
