import { useState } from "preact/hooks";
import type { Similarities } from "../api/types";
import { exportTable } from "../state/selection";
import { useStore } from "../state/store";
import { unlike } from "../state/zip";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import { useAnswer } from "./ask";
import { lines } from "./lines";
import { bench, BenchThumb, Pictures, RemoveButton, sentPictures, type BenchPicture } from "./pictures";

const MOST = 16;

/** Several pictures and texts, everything with everything. */
export function Matrix() {
  const text = useStore(bench, (value) => value.texts);
  const [against, setAgainst] = useState<"texts" | "images">("texts");
  const pictures = useStore(bench, (value) => value.pictures).slice(0, MOST);
  const texts = lines(text).slice(0, MOST);
  const { images, files } = sentPictures(pictures);
  const body = pictures.length ? { images, texts } : null;
  const { found, error, busy } = useAnswer<Similarities>("/v1/similarity", body, files);
  const values = against === "texts" ? found?.images_texts : found?.images_images;
  const fits = values?.length === pictures.length && values[0]?.length === (against === "texts" ? texts : pictures).length;
  return (
    <div class="bench">
      <Pictures most={MOST} hint={`Drop or paste up to ${MOST} pictures`} isListed={false} />
      <div class="row">
        <label class="field grow">
          Texts, one to a line
          <textarea rows={3} value={text} spellcheck={false} onInput={(event) => bench.set({ texts: event.currentTarget.value })} />
        </label>
        <label class="field">
          Pictures with
          <select value={against} onChange={(event) => setAgainst(event.currentTarget.value as "texts" | "images")}>
            <option value="texts">texts</option>
            <option value="images">each other</option>
          </select>
        </label>
        {fits && pictures.length > 0 && <button onClick={() => saveTable(pictures, against === "texts" ? texts : pictures.map((one) => one.name), values)}><Icon name="download" /> Save as CSV</button>}
      </div>
      {error && <Trouble error={error} />}
      {!pictures.length && <p class="soft">With pictures, their cosines stand here. Those of pictures with texts are small numbers: compare them within a row, not with 1.</p>}
      {fits && pictures.length > 0 && <Table pictures={pictures} columns={against === "texts" ? texts : pictures} values={values} busy={busy} />}
    </div>
  );
}

function saveTable(pictures: BenchPicture[], columns: string[], values: number[][]): void {
  const taken = new Set(["picture"]);
  const names = columns.map((name) => unlike(name, taken));
  const rows = pictures.map((one, row) => ({ picture: one.name, ...Object.fromEntries(names.map((name, column) => [name, values[row]![column]])) }));
  exportTable(rows, ["picture", ...names], "similarities.csv");
}

interface TableProps {
  pictures: BenchPicture[];
  columns: (string | BenchPicture)[];
  values: number[][];
  busy: boolean;
}

function Table({ pictures, columns, values, busy }: TableProps) {
  const own = columns[0] === pictures[0];
  // A picture with itself is 1 and would leave the others without contrast.
  const told = values.flatMap((row, at) => row.filter((_, column) => !(own && at === column)));
  const [low, high] = [Math.min(...told), Math.max(...told)];
  const share = (value: number) => (high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5);
  return (
    <div class={`table-scroll ${busy ? "stale" : ""}`} tabIndex={0} role="region" aria-label="Similarities">
      <table class="matrix">
        <thead>
          <tr>
            <td />
            {columns.map((one) => <th key={typeof one === "string" ? one : one.key} scope="col">{typeof one === "string" ? one : <BenchThumb picture={one} />}</th>)}
          </tr>
        </thead>
        <tbody>
          {pictures.map((picture, row) => (
            <tr key={picture.key}>
              <th scope="row"><figure><BenchThumb picture={picture} /><RemoveButton picture={picture} /></figure></th>
              {values[row]!.map((value, column) => (
                <td key={column} style={{ "--share": share(value).toFixed(3) }}>{value.toFixed(3)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
