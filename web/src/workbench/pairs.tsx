import type { PairResult } from "../api/types";
import { percent, score } from "../format";
import { useStore } from "../state/store";
import { Trouble } from "../ui/trouble";
import { useAnswer } from "./ask";
import { bench, BenchThumb, Pictures, RemoveButton, sentPictures } from "./pictures";

const MOST = 24;

/** Do this picture and this text belong together? Each pair for itself. */
export function Pairs() {
  const pictures = useStore(bench, (value) => value.pictures).slice(0, MOST);
  const texts = useStore(bench, (value) => value.pairs);
  const pairs = pictures.filter((one) => texts[one.key]?.trim());
  const { images, files } = sentPictures(pairs);
  const body = pairs.length ? { pairs: pairs.map((one, at) => ({ image: images[at], text: texts[one.key]!.trim() })) } : null;
  const { found, error, busy } = useAnswer<{ results: PairResult[] }>("/v1/match", body, files);
  const resultOf = (key: string) => found?.results[pairs.findIndex((one) => one.key === key)];
  return (
    <div class="bench">
      <Pictures most={MOST} hint="Drop or paste pictures, and write a text to each" isListed={false} />
      {error && <Trouble error={error} />}
      <ul class="pairs" aria-busy={busy}>
        {pictures.map((picture) => {
          const result = texts[picture.key]?.trim() ? resultOf(picture.key) : undefined;
          return (
            <li key={picture.key}>
              <figure><BenchThumb picture={picture} /><RemoveButton picture={picture} /></figure>
              <div>
                <label class="field">
                  <span class="hidden">Text for {picture.name}</span>
                  <input placeholder="What it may show" value={texts[picture.key] ?? ""} onInput={(event) => bench.set({ pairs: { ...texts, [picture.key]: event.currentTarget.value } })} />
                </label>
                <p class="verdict" aria-live="polite">
                  {result ? <><b>{percent(result.probability)}</b> <span class="soft">that they belong together; similarity {score(result.similarity)}</span></> : <span class="soft">no text yet</span>}
                </p>
                <span class="bar-line"><i style={{ width: `${100 * (result?.probability ?? 0)}%` }} /></span>
              </div>
            </li>
          );
        })}
      </ul>
    </div>
  );
}
