import type { Label } from "../api/types";
import { percent, score } from "../format";
import { useStore } from "../state/store";
import { Trouble } from "../ui/trouble";
import { useAnswer } from "./ask";
import { lines } from "./lines";
import { bench, Pictures, sentPictures } from "./pictures";

/** A picture against labels: softmax confidence over those that are typed. */
export function Labels() {
  const text = useStore(bench, (value) => value.labels);
  const picture = useStore(bench, (value) => value.pictures[0]);
  const texts = lines(text);
  const { images, files } = sentPictures(picture ? [picture] : []);
  const body = picture && texts.length ? { image: images[0], texts } : null;
  const { found, error, busy } = useAnswer<{ labels: Label[] }>("/v1/rank", body, files);
  return (
    <div class="bench two">
      <Pictures most={1} hint="Drop or paste a picture" />
      <div>
        <label class="field">
          Labels, one to a line
          <textarea rows={5} value={text} spellcheck={false} onInput={(event) => bench.set({ labels: event.currentTarget.value })} />
        </label>
        <div aria-busy={busy} aria-live="polite">
          {error && <Trouble error={error} />}
          {!picture && <p class="soft">With a picture, the confidence of each label stands here. It is shared out among the labels: what is not named gets nothing.</p>}
          {found && (
            <ul class={`bars large ${busy ? "stale" : ""}`}>
              {found.labels.map((label) => (
                <li key={label.text}>
                  <span class="bar-name">{label.text}</span>
                  <span class="bar-value" title={`similarity ${score(label.similarity)}`}>{percent(label.confidence)}</span>
                  <span class="bar-line"><i style={{ width: `${100 * label.confidence}%` }} /></span>
                  <span class="soft small">similarity {score(label.similarity)}</span>
                </li>
              ))}
            </ul>
          )}
        </div>
      </div>
    </div>
  );
}
