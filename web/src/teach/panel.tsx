import { useEffect, useState } from "preact/hooks";
import type { Concept } from "../api/types";
import { remedied } from "../api/client";
import { count } from "../format";
import { conceptQuery } from "../query/parse";
import { openItem } from "../search/actions";
import { go, place } from "../state/place";
import { may, service } from "../state/session";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { note } from "../ui/said";
import { Thumb, thumbPath } from "../ui/thumb";
import { Marks } from "./marks";
import { said } from "./rates";
import { Save } from "./save";
import { end, forget, look, taughtLibrary, teach, teaching } from "./state";

/** What is being taught: marks, errors, what to mark next. It stands above the results while there is such a thing. */
export function TeachPanel() {
  const route = useStore(place, (value) => value);
  const library = useStore(service, () => taughtLibrary(route));
  const { concept, plan, next, marks } = useStore(teaching, (value) => value);
  const [isSaving, setSaving] = useState(false);
  useEffect(() => void look(route), [route.teach, library]);
  if (!may("write")) return null;
  const shows = conceptQuery(concept?.name ?? route.teach);
  const isShown = route.query.toLowerCase() === shows.toLowerCase();
  const yes = [...marks.values()].filter((one) => one === "yes").length;
  return (
    <section class="teach" aria-label={`Teaching ${route.teach}`}>
      <div class="teach-line">
        <h2>Teaching “{concept?.name ?? route.teach}”</h2>
        <span class="soft" role="status">{count(yes)} yes · {count(marks.size - yes)} no{plan && ` · holds for ${count(plan.fits)} of ${count(plan.items)}`}</span>
        <span class="spring" />
        {concept && !isShown && <button class="main" onClick={() => go({ query: shows, arrange: "score", pictures: [], relevant: false })}><Icon name="search" /> Show what it finds</button>}
        {plan && <button onClick={() => setSaving(true)}><Icon name="tag" /> Save as a tag</button>}
        {concept && <Forget name={concept.name} />}
        <button class="quiet round" aria-label="Stop teaching" title="Stop teaching; what was marked is kept" onClick={end}><Icon name="close" /></button>
      </div>
      {library === null && <p class="wrong">Choose one library: a concept belongs to it.</p>}
      {!concept && library !== null && <p class="soft">Mark pictures below: <Icon name="check" /> shows it, <Icon name="close" /> does not. Search for more of either; three or four are enough to begin with.</p>}
      {concept && !concept.current && <p>It was taught on another model. <button onClick={() => void teach()}>Teach it again from its marks</button></p>}
      {concept && <Errors concept={concept} />}
      {next.length > 0 && (
        <div class="teach-next">
          <h3>Least certain: a mark here teaches most</h3>
          <ul>
            {next.map(({ item, score }) => (
              <li key={item.item}>
                <button class="teach-picture" aria-label={`Open ${item.name}`} title={`${item.name}, score ${score.toFixed(2)}`} onClick={() => openItem(item)}>
                  {item.kind === "text" ? <span class="tile-text">{item.text}</span> : <Thumb path={thumbPath(item.item, 256, item.version)} alt="" />}
                </button>
                <Marks hit={item} stop={0} />
              </li>
            ))}
          </ul>
        </div>
      )}
      {isSaving && concept && plan && <Save concept={concept} onClose={() => setSaving(false)} />}
    </section>
  );
}

function Errors({ concept }: { concept: Concept }) {
  return (
    <div class="teach-line small">
      <span title="Marked yes, and not found when the concept is taught without it"><b>Misses</b> {said(concept.missed, concept.yes, "yes")}</span>
      <span title="Marked no, and found when the concept is taught without it"><b>False alarms</b> {said(concept.false_alarms, concept.no, "no")}</span>
      <span class="spring" />
      <label class="field inline">
        Stricter
        <input type="range" min="5" max="95" step="5" value={Math.round(100 * concept.threshold)} aria-label="How strict it is, in per cent" onChange={(event) => void teach({ threshold: Number(event.currentTarget.value) / 100 })} />
        <span class="soft">{concept.threshold.toFixed(2)}</span>
      </label>
    </div>
  );
}

function Forget({ name }: { name: string }) {
  const [isSure, setSure] = useState(false);
  if (!isSure) return <button class="quiet" onClick={() => setSure(true)}>Forget</button>;
  const act = () => forget().then(() => note(`${name} is forgotten; tags that it gave stay`), (error: unknown) => note(remedied(error)));
  return <button class="danger" onBlur={() => setSure(false)} onClick={() => void act()}>Forget it, with its marks?</button>;
}
