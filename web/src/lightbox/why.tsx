import { useEffect, useState } from "preact/hooks";
import { ApiError, postJson } from "../api/client";
import type { Explained, Heat, Hit } from "../api/types";
import { percent } from "../format";
import { place } from "../state/place";
import { explainRequest } from "../state/results";
import { Icon } from "../ui/icon";
import { note } from "../ui/said";
import { Thumb, thumbPath } from "../ui/thumb";

interface Props {
  hit: Hit;
  onHeat: (heat: Heat | null) => void;
}

function asked(item: string, heat: boolean, signal?: AbortSignal): Promise<Explained> {
  const { body, files } = explainRequest(place.get(), item, heat);
  return postJson<Explained>("/v1/explain", body, files, signal);
}

/** Why it was found: what each term of the query gave, and where in the picture. */
export function Why({ hit, onHeat }: Props) {
  const [found, setFound] = useState<Explained | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    asked(hit.item, false, stop.signal).then(setFound, (problem: unknown) => problem instanceof ApiError && setError(problem.message));
    return () => (stop.abort(), onHeat(null));
  }, [hit.item]);
  return (
    <section aria-busy={!found && !error}>
      <h3>Why it matched</h3>
      {error && <p class="soft">{error}</p>}
      {!found && !error && <div class="bar-line waiting-line" />}
      {found && <Terms terms={found.terms} score={found.score} />}
      {found && hit.kind === "image" && hit.online && <Where item={hit.item} onHeat={onHeat} />}
    </section>
  );
}

function Terms({ terms, score }: Pick<Explained, "terms" | "score">) {
  // With one term there is nothing to compare it with but a perfect match.
  const largest = Math.max(...terms.map((term) => Math.abs(term.share)), 1e-9);
  const whole = terms.length > 1 && score > 0;
  return (
    <ul class="bars">
      {terms.map((term) => (
        <li key={term.term}>
          <span class="bar-name"><Term text={term.term} />{term.weight !== 1 && <span class="soft"> × {String(term.weight).replace("-", "−")}</span>}</span>
          <span class="bar-value" title={`similarity ${term.similarity.toFixed(3)}, ${term.share.toFixed(3)} of the score`}>
            {whole ? `${term.share < 0 ? "−" : ""}${percent(Math.abs(term.share) / score)}` : term.similarity.toFixed(3)}
          </span>
          <span class="bar-line"><i class={term.share < 0 ? "against" : ""} style={{ width: `${(100 * Math.abs(term.share)) / largest}%` }} /></span>
        </li>
      ))}
    </ul>
  );
}

const Term = ({ text }: { text: string }) => {
  const item = /^~?([^\s"]+:\d+)$/.exec(text)?.[1];
  return item ? <Thumb path={thumbPath(item, 128)} alt={item} class="chip-picture" /> : <>{text}</>;
};

/** Asked for when it is wanted: it costs the service a look at every part of the picture. */
function Where({ item, onHeat }: { item: string; onHeat: Props["onHeat"] }) {
  const [state, setState] = useState<"off" | "asking" | "on">("off");
  const [isCut, setCut] = useState(false);
  const turn = async () => {
    onHeat(null);
    if (state !== "off") return setState("off");
    setState("asking");
    const heat = await asked(item, true).then((found) => found.heat, () => null);
    setState(heat ? "on" : "off");
    setCut(heat?.box.some((edge, at) => Math.abs(edge - (at < 2 ? 0 : 1)) > 0.02) ?? false);
    if (heat) onHeat(heat);
    else note("Where in the picture cannot be told now");
  };
  return (
    <>
      <button aria-pressed={state === "on"} aria-busy={state === "asking"} onClick={() => void turn()}>
        <Icon name="heat" /> {{ off: "Show where", asking: "Looking …", on: "Hide where" }[state]}
      </button>
      {state === "on" && <p class="soft small">Bright parts speak for it.{isCut && " Edges that the model does not look at are dark."}</p>}
    </>
  );
}
