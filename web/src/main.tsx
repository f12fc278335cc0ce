import { render } from "preact";
import { App } from "./app";
import { lastSearchLink, startRouting } from "./state/place";
import { refreshSession, watchConnection } from "./state/session";
import { applySettings } from "./state/settings";
import { help } from "./ui/help";
import "./styles/base.css";
import "./styles/top.css";
import "./styles/grid.css";
import "./styles/teach.css";
import "./styles/lightbox.css";
import "./styles/pages.css";

applySettings();
startRouting();
watchConnection();
void refreshSession();
const app = document.getElementById("app")!;
app.replaceChildren();
render(<App />, app);

addEventListener("keydown", (event) => {
  const isTyping = (event.target as HTMLElement).matches?.("input, textarea, select");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "?") help.set({ isOpen: true });
  else if (event.key === "/") toSearch();
  else return;
  event.preventDefault();
});

/** Into the box, from wherever one is. */
function toSearch(): void {
  const box = document.getElementById("search");
  if (box) return box.focus();
  location.hash = lastSearchLink();
  requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById("search")?.focus()));
}
