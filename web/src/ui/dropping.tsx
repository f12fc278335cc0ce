import { useEffect, useState } from "preact/hooks";
import { droppedFiles, sendFiles } from "../libraries/upload";
import { takePictures } from "../search/box";
import { picturesIn } from "../state/attachments";
import { place } from "../state/place";
import type { Route } from "../state/route";
import { emptyOne, may } from "../state/session";
import { useStore } from "../state/store";
import { addFiles } from "../workbench/pictures";
import { note } from "./said";

type Aim = "search" | "upload" | "bench" | null;

function aimOf({ view, name, libraries }: Route): Aim {
  if (view === "search") return emptyOne(libraries) ? "upload" : "search";
  if (view === "workbench") return name === "map" ? null : "bench";
  return name && may("write") ? "upload" : null;
}

const SAID: Record<Exclude<Aim, null>, string> = {
  search: "Drop it to search by this picture", upload: "Drop pictures, folders or a zip to add them", bench: "Drop pictures to put them on the bench",
};

/** Wherever on the page something is dropped or pasted, it is taken for what the view is about; and no browser leaves the page for it. */
export function DropAnywhere() {
  const aim = useStore(place, aimOf);
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => hasFiles(event) && ++depth && setOver(true);
    const leave = (event: DragEvent) => hasFiles(event) && !--depth && setOver(false);
    const over = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => (event.preventDefault(), (depth = 0), setOver(false), void take(event.dataTransfer));
    const paste = (event: ClipboardEvent) => {
      if (!picturesIn(event.clipboardData).length) return;
      event.preventDefault();
      void take(event.clipboardData);
    };
    const all: [string, EventListener][] = [
      ["dragenter", enter as EventListener], ["dragleave", leave as EventListener], ["dragover", over as EventListener],
      ["drop", drop as EventListener], ["paste", paste as EventListener],
    ];
    for (const [name, act] of all) addEventListener(name, act);
    return () => all.forEach(([name, act]) => removeEventListener(name, act));
  }, []);
  return isOver && aim ? <div class="dropping" aria-hidden="true"><p>{SAID[aim]}</p></div> : null;
}

async function take(data: DataTransfer | null): Promise<void> {
  const route = place.get();
  const aim = aimOf(route);
  if (aim === "upload") return sendFiles(route.name || emptyOne(route.libraries)!, await droppedFiles(data));
  if (!data?.files.length) return;
  const hasPictures = picturesIn(data).length > 0;
  if (aim === "search" && !takePictures(data)) note("That is no picture. To add files, open a library.");
  else if (aim === "bench") hasPictures ? addFiles(picturesIn(data)) : note("That is no picture.");
  else if (!aim) note(route.view === "libraries" ? "Open a library first, and drop them there." : "Nothing can be dropped here.");
}
