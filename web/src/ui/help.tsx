import { createStore } from "../state/store";
import { Dialog } from "./dialog";

export const help = createStore({ isOpen: false });

const KEYS: [string, string][] = [
  ["/", "Go to the search box, from anywhere"],
  ["↓", "From the box into the results"],
  ["← → ↑ ↓", "Move in the grid; Home, End, Page Up, Page Down too"],
  ["Enter", "Open a picture; ← → turn the pages"],
  ["z + − 0", "In a picture: its own pixels, nearer, farther, all of it; arrows move it then"],
  ["i", "In a picture: with or without its details"],
  ["Esc", "Close"],
  ["x", "Select; Shift with a move or click selects up to there, Ctrl A all"],
  ["m", "More like this"],
  ["l", "Less like this"],
  ["w", "Without this"],
  ["y n", "While something is taught: shows it, does not"],
  ["?", "This help"],
];

const WORDS: [string, string][] = [
  ["two dogs on a beach", "what the picture shows"],
  ['dogs "wet fur"', "a phrase that counts for itself, also in names, tags and captions"],
  ["dogs -people", "away from people"],
  ['dogs 1.5*"wet fur"', "with a weight"],
  ["~photos:12", "like a picture of a library; paste or drop others"],
  ["after:2023-05 before:2024", "when it was taken"],
  ["tag:family has:place", "what is known of it"],
  ["concept:rex", "what it holds for, taught by examples"],
  ["ext:heic size:>2mb width:>=1920", "the file"],
  ["near:48.85,2.35,5km", "where it was taken"],
  ["-ext:gif", "a dash before a filter turns it round"],
  ["relevant:", "only what is probably meant"],
];

export function Help() {
  return (
    <Dialog title="Help" onClose={() => help.set({ isOpen: false })}>
      <h3>Keys</h3>
      <dl class="helps">{KEYS.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
      <h3>What can be asked</h3>
      <dl class="helps">{WORDS.map(([text, what]) => <div key={text}><dt><code>{text}</code></dt><dd>{what}</dd></div>)}</dl>
    </Dialog>
  );
}
