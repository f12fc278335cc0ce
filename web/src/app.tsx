import { useEffect, useState } from "preact/hooks";
import { connection } from "./api/client";
import { LibrariesView } from "./libraries/view";
import { Lightbox } from "./lightbox/lightbox";
import { takePictures } from "./search/box";
import { SelectionBar } from "./search/toolbar";
import { SearchView } from "./search/view";
import { place } from "./state/place";
import { service } from "./state/session";
import { useStore } from "./state/store";
import { Footer, Header } from "./ui/header";
import { Help, help } from "./ui/help";
import { KeyDialog } from "./ui/keydialog";
import { Menu } from "./ui/menu";
import { note, Said } from "./ui/said";
import { Trouble } from "./ui/trouble";
import { Workbench } from "./workbench/view";

export function App() {
  const { view, item } = useStore(place, (route) => route);
  const session = useStore(service, (value) => value.session);
  const isHelp = useStore(help, (value) => value.isOpen);
  const keyWanted = useStore(connection, (value) => value.keyWanted);
  const isIn = session !== null && !keyWanted;
  useEffect(() => {
    document.title = { search: "crosslens", libraries: "Libraries · crosslens", workbench: "Workbench · crosslens" }[view];
  }, [view]);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <Header />
      <Away />
      <main id="main" tabIndex={-1}>
        {!isIn && <Starting />}
        {isIn && view === "search" && <SearchView />}
        {isIn && view === "libraries" && <LibrariesView />}
        {isIn && view === "workbench" && <Workbench />}
      </main>
      <Footer />
      <SelectionBar />
      {isIn && view === "search" && <DropAnywhere />}
      {isIn && item && <Lightbox item={item} />}
      {isHelp && <Help />}
      {keyWanted && <KeyDialog />}
      <Menu />
      <Said />
    </>
  );
}

/** The hash is the route, so the browser cannot follow this link by itself. */
function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("main")!.focus();
}

/** While nothing answers. What was found stays in view, and the page looks by itself whether it is back. */
function Away() {
  const reachable = useStore(connection, (value) => value.reachable);
  const problem = useStore(service, (value) => value.problem);
  if (!reachable) return <p class="away" role="status">The service does not answer. What was found stays here; the page tries again by itself.</p>;
  if (problem?.status === 503) return <p class="away" role="status">The service is starting. It will be there in a moment.</p>;
  return null;
}

function Starting() {
  const problem = useStore(service, (value) => value.problem);
  return problem && problem.status !== 0 && problem.status !== 503 ? <Trouble error={problem} /> : null;
}

/** Wherever a picture is dropped or pasted, it becomes a part of the query. */
function DropAnywhere() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => hasFiles(event) && ++depth && setOver(true);
    const leave = (event: DragEvent) => hasFiles(event) && !--depth && setOver(false);
    const over = (event: DragEvent) => event.preventDefault();
    const take = (event: DragEvent | ClipboardEvent, data: DataTransfer | null) => {
      if (takePictures(data)) event.preventDefault();
      else if (data?.files.length) (event.preventDefault(), note("That is no picture. To add files, open a library."));
    };
    const drop = (event: DragEvent) => (event.preventDefault(), (depth = 0), setOver(false), take(event, event.dataTransfer));
    const paste = (event: ClipboardEvent) => take(event, event.clipboardData);
    const all: [string, EventListener][] = [
      ["dragenter", enter as EventListener], ["dragleave", leave as EventListener], ["dragover", over as EventListener],
      ["drop", drop as EventListener], ["paste", paste as EventListener],
    ];
    for (const [name, act] of all) addEventListener(name, act);
    return () => all.forEach(([name, act]) => removeEventListener(name, act));
  }, []);
  return isOver ? <div class="dropping" aria-hidden="true"><p>Drop it to search by this picture</p></div> : null;
}
