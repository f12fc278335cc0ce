import type { Completion } from "../query/complete";

export const SUGGESTIONS = "suggestions";

interface Props {
  list: Completion[];
  active: number;
  onPick: (one: Completion) => void;
}

/** The list stays in the page while it is empty, since the box names it as what it controls. */
export function Suggestions({ list, active, onPick }: Props) {
  return (
    <ul class="suggestions" id={SUGGESTIONS} role="listbox" aria-label="Completions" hidden={!list.length}>
      {list.map((one, at) => (
        <li
          key={one.text}
          id={`${SUGGESTIONS}-${at}`}
          role="option"
          aria-selected={at === active}
          onPointerDown={(event) => (event.preventDefault(), onPick(one))}
        >
          <span>{one.text}</span>
          <span class="soft">{one.hint}</span>
        </li>
      ))}
    </ul>
  );
}
