import { useEffect, useState } from "preact/hooks";
import { remedied } from "../api/client";
import type { Concept, ConceptTag } from "../api/types";
import { count, counted } from "../format";
import { Dialog } from "../ui/dialog";
import { note } from "../ui/said";
import { said } from "./rates";
import { give, planFor } from "./state";

/** What giving the tag would do; then it is given, or not. */
export function Save({ concept, onClose }: { concept: Concept; onClose: () => void }) {
  const [tag, setTag] = useState(concept.name);
  const [plan, setPlan] = useState<ConceptTag | null>(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    let isWanted = true;
    const timer = setTimeout(() => {
      if (!tag.trim()) return setPlan(null);
      planFor(tag.trim()).then((found) => isWanted && (setPlan(found), setWrong("")), (error: unknown) => isWanted && (setPlan(null), setWrong(remedied(error))));
    }, 150);
    return () => ((isWanted = false), clearTimeout(timer));
  }, [tag]);
  const save = async () => {
    try {
      const done = await give(tag.trim());
      note(`${counted(done.new, "item")} tagged as ${done.tag}${done.gone ? `, ${count(done.gone)} not any more` : ""}`);
      onClose();
    } catch (error) {
      setWrong(remedied(error));
    }
  };
  return (
    <Dialog title="Save as a tag" class="narrow" onClose={onClose}>
      <form class="stack" onSubmit={(event) => (event.preventDefault(), plan && void save())}>
        <label class="field">Tag <input value={tag} onInput={(event) => setTag(event.currentTarget.value)} /></label>
        <p class="wrong">{wrong}</p>
        {plan && (
          <p role="status">
            <b>{count(plan.new)}</b> {plan.new === 1 ? "gets" : "get"} the tag, of {counted(plan.fits, "item")} that fit.
            {plan.gone > 0 && ` ${count(plan.gone)} lose it, which had it from this concept and fit no more.`}
          </p>
        )}
        <p class="soft small">On your marks: misses {said(concept.missed, concept.yes, "yes")}; false alarms {said(concept.false_alarms, concept.no, "no")}. What is added later is found by the concept, and gets the tag when you save again.</p>
        <div class="row"><button class="main" disabled={!plan}>Tag them</button><button type="button" onClick={onClose}>Cancel</button></div>
      </form>
    </Dialog>
  );
}
