import { useRef } from "preact/hooks";
import type { Hit, Picture } from "../api/types";
import { isPicture } from "../state/attachments";
import { selection } from "../state/selection";
import { createStore, useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Thumb, thumbPath } from "../ui/thumb";

/** A picture on the bench: a file from here, or an item of a library. */
export interface BenchPicture {
  key: string;
  name: string;
  blob: Blob | null;
  url: string;
  item: string | null;
}

interface Bench {
  pictures: BenchPicture[];
  labels: string;
  texts: string;
  /** What each picture may show, by its key. */
  pairs: Readonly<Record<string, string>>;
}

/** All of it stays while one goes from bench to bench, and comes back. */
export const bench = createStore<Bench>({
  pictures: [], labels: "a photo of a dog\na photo of a cat\na photo of people\na landscape", texts: "a dog\na person\nthe sea", pairs: {},
});

let last = 0;

export function addFiles(files: readonly File[]): void {
  const added = files.filter(isPicture).map((file) => ({ key: `f${++last}`, name: file.name, blob: file, url: URL.createObjectURL(file), item: null }));
  bench.set(({ pictures }) => ({ pictures: [...added, ...pictures] }));
}

/** Put items to the front of the bench. */
export function addHits(hits: readonly Hit[]): void {
  const added = hits
    .filter((hit) => hit.kind === "image")
    .map((hit) => ({ key: hit.item, name: hit.name, blob: null, url: "", item: hit.item }));
  const keys = new Set(added.map((one) => one.key));
  bench.set(({ pictures }) => ({ pictures: [...added, ...pictures.filter((one) => !keys.has(one.key))] }));
}

/** Make a picture the first, which is the one that labels are tried on. */
const lead = (picture: BenchPicture): void =>
  bench.set(({ pictures }) => ({ pictures: [picture, ...pictures.filter((one) => one !== picture)] }));

/** How pictures are named in a request, and the files that go with it. */
export function sentPictures(pictures: readonly BenchPicture[]): { images: Picture[]; files: Record<string, Blob> } {
  const files: Record<string, Blob> = {};
  const images = pictures.map((one): Picture => {
    if (one.item) return { item: one.item };
    files[one.key] = one.blob!;
    return { file: one.key };
  });
  return { images, files };
}

export function BenchThumb({ picture, size = 256, alt = picture.name }: { picture: BenchPicture; size?: number; alt?: string }) {
  return picture.item ? <Thumb path={thumbPath(picture.item, size)} alt={alt} /> : <img class="thumb there" src={picture.url} alt={alt} />;
}

const MOST_OTHERS = 12;

/** What lies on the bench and is not looked at. */
function Others({ pictures, most }: { pictures: BenchPicture[]; most: number }) {
  if (most > 1) return <p class="soft small">{pictures.length} more lie on the bench; {most} fit here.</p>;
  return (
    <ul class="others" aria-label="Other pictures on the bench">
      {pictures.slice(0, MOST_OTHERS).map((one) => <li key={one.key}><button aria-label={`Try ${one.name}`} title={one.name} onClick={() => lead(one)}><BenchThumb picture={one} size={128} alt="" /></button></li>)}
    </ul>
  );
}

interface Props {
  most: number;
  hint: string;
  /** Whether the pictures themselves are shown here. */
  isListed?: boolean;
}

export const remove = (key: string): void => bench.set(({ pictures }) => ({ pictures: pictures.filter((one) => one.key !== key) }));

export const RemoveButton = ({ picture }: { picture: BenchPicture }) => (
  <button class="over" aria-label={`Remove ${picture.name}`} title="Remove" onClick={() => remove(picture.key)}><Icon name="close" /></button>
);

/** Pictures in a row, and the ways to add more. */
export function Pictures({ most, hint, isListed = true }: Props) {
  const all = useStore(bench, (value) => value.pictures);
  const pictures = all.slice(0, most);
  const chosen = useStore(selection, (value) => value.chosen);
  const field = useRef<HTMLInputElement>(null);
  return (
    <div class={`bench-pictures ${most === 1 ? "one" : ""}`}>
      {isListed && pictures.map((picture) => (
        <figure key={picture.key}>
          <BenchThumb picture={picture} size={most === 1 ? 1024 : 256} />
          <RemoveButton picture={picture} />
        </figure>
      ))}
      <div class="bench-add">
        <p class="soft">{hint}</p>
        <button onClick={() => field.current!.click()}><Icon name="image" /> {pictures.length && most === 1 ? "Another picture" : "Choose pictures"}</button>
        {chosen.size > 0 && <button class="quiet" onClick={() => addHits([...chosen.values()])}>Use the {chosen.size} selected</button>}
        {all.length > most && <Others pictures={all.slice(most)} most={most} />}
        <input ref={field} class="hidden" type="file" accept="image/*" multiple tabIndex={-1} aria-hidden="true"
          onChange={(event) => (addFiles([...(event.currentTarget.files ?? [])]), (event.currentTarget.value = ""))} />
      </div>
    </div>
  );
}
