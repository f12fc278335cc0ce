import { useRef } from "preact/hooks";
import { go, place } from "../state/place";
import { useStore } from "../state/store";
import { Labels } from "./labels";
import { MapBench } from "./map";
import { Matrix } from "./matrix";
import { Pairs } from "./pairs";

const BENCHES = [
  { name: "labels", text: "Labels", Bench: Labels },
  { name: "pairs", text: "Pairs", Bench: Pairs },
  { name: "matrix", text: "Matrix", Bench: Matrix },
  { name: "map", text: "Map", Bench: MapBench },
] as const;

export function Workbench() {
  const name = useStore(place, (route) => route.name);
  const tabs = useRef<HTMLDivElement>(null);
  const now = BENCHES.find((one) => one.name === name) ?? BENCHES[0];
  const steer = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = (BENCHES.indexOf(now) + by + BENCHES.length) % BENCHES.length;
    go({ name: BENCHES[next]!.name }, true);
    (tabs.current!.children[next] as HTMLElement).focus();
  };
  return (
    <div class="page wide">
      <h1>Workbench</h1>
      <div class="tabs" role="tablist" aria-label="Benches" ref={tabs} onKeyDown={steer}>
        {BENCHES.map((one) => (
          <button key={one.name} id={`tab-${one.name}`} role="tab" aria-selected={one === now} aria-controls="bench" tabIndex={one === now ? 0 : -1} onClick={() => go({ name: one.name })}>
            {one.text}
          </button>
        ))}
      </div>
      <div id="bench" role="tabpanel" aria-labelledby={`tab-${now.name}`}>
        <now.Bench />
      </div>
    </div>
  );
}
