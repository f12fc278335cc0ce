import { useEffect, useRef, useState } from "preact/hooks";
import type { Hit, Picture } from "../api/types";
import { isPicture, picturesIn } from "../state/attachments";
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

/** They stay while one goes from bench to bench. */
export const bench = createStore<{ pictures: BenchPicture[] }>({ pictures: [] });

let last = 0;

export function addFiles(files: readonly File[]): void {
  const added = files.filter(isPicture).map((file) => ({ key: `f${++last}`, name: file.name, blob: file, url: URL.createObjectURL(file), item: null }));
  bench.set(({ pictures }) => ({ pictures: [...added, ...pictures] }));
}

export function addHits(hits: readonly Hit[]): void {
  const { pictures } = bench.get();
  const there = new Set(pictures.map((one) => one.item));
  const added = hits
    .filter((hit) => hit.kind === "image" && !there.has(hit.item))
    .map((hit) => ({ key: hit.item, name: hit.name, blob: null, url: "", item: hit.item }));
  bench.set({ pictures: [...added, ...pictures] });
}

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

export function BenchThumb({ picture, size = 256 }: { picture: BenchPicture; size?: number }) {
  return picture.item ? <Thumb path={thumbPath(picture.item, size)} alt={picture.name} /> : <img class="thumb there" src={picture.url} alt={picture.name} />;
}

interface Props {
  most: number;
  hint: string;
}

/** Pictures in a row, and the ways to add more. */
export function Pictures({ most, hint }: Props) {
  const pictures = useStore(bench, (value) => value.pictures).slice(0, most);
  const chosen = useStore(selection, (value) => value.chosen);
  const field = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const paste = (event: ClipboardEvent) => addFiles(picturesIn(event.clipboardData));
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, []);
  const remove = (key: string) => bench.set(({ pictures: all }) => ({ pictures: all.filter((one) => one.key !== key) }));
  const drop = (event: DragEvent) => (event.preventDefault(), setOver(false), addFiles(picturesIn(event.dataTransfer)));
  return (
    <div class={`bench-pictures ${isOver ? "over" : ""} ${most === 1 ? "one" : ""}`} onDragOver={(event) => (event.preventDefault(), setOver(true))} onDragLeave={() => setOver(false)} onDrop={drop}>
      {pictures.map((picture) => (
        <figure key={picture.key}>
          <BenchThumb picture={picture} size={most === 1 ? 1024 : 256} />
          <button class="over" aria-label={`Remove ${picture.name}`} onClick={() => remove(picture.key)}><Icon name="close" /></button>
        </figure>
      ))}
      <div class="bench-add">
        <p class="soft">{hint}</p>
        <button onClick={() => field.current!.click()}><Icon name="image" /> {pictures.length && most === 1 ? "Another picture" : "Choose pictures"}</button>
        {chosen.size > 0 && <button class="quiet" onClick={() => addHits([...chosen.values()])}>Use the {chosen.size} selected</button>}
        <input ref={field} class="hidden" type="file" accept="image/*" multiple tabIndex={-1} aria-hidden="true"
          onChange={(event) => (addFiles([...(event.currentTarget.files ?? [])]), (event.currentTarget.value = ""))} />
      </div>
    </div>
  );
}
