import { useEffect } from "preact/hooks";
import { connection } from "./api/client";
import { LibrariesView } from "./libraries/view";
import { Lightbox } from "./lightbox/lightbox";
import { SelectionBar } from "./search/selectionbar";
import { SearchView } from "./search/view";
import { place } from "./state/place";
import { service } from "./state/session";
import { useStore } from "./state/store";
import { StartTeaching } from "./teach/start";
import { DropAnywhere } from "./ui/dropping";
import { Footer, Header } from "./ui/header";
import { Help, help } from "./ui/help";
import { KeyDialog } from "./ui/keydialog";
import { Menu } from "./ui/menu";
import { Said } from "./ui/said";
import { Trouble } from "./ui/trouble";
import { Workbench } from "./workbench/view";

export function App() {
  const { view, name, query, item } = useStore(place, (route) => route);
  const session = useStore(service, (value) => value.session);
  const isHelp = useStore(help, (value) => value.isOpen);
  const keyWanted = useStore(connection, (value) => value.keyWanted);
  const isIn = session !== null && !keyWanted;
  useEffect(() => {
    const of = { search: query, libraries: name || "Libraries", workbench: "Workbench" }[view];
    document.title = of ? `${of} · crosslens` : "crosslens";
  }, [view, name, query]);
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
        <Menu />
      </main>
      <Footer />
      <SelectionBar />
      {isIn && <DropAnywhere />}
      {isIn && item && <Lightbox item={item} />}
      {isIn && <StartTeaching />}
      {isHelp && <Help />}
      {keyWanted && <KeyDialog />}
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
  if (!reachable) return <p class="away" role="status">The service does not answer. What you see stays; the page tries again by itself.</p>;
  if (problem?.status === 503) return <p class="away" role="status">The service is starting. It will be there in a moment.</p>;
  return null;
}

function Starting() {
  const problem = useStore(service, (value) => value.problem);
  return problem && problem.status !== 0 && problem.status !== 503 ? <Trouble error={problem} /> : null;
}
