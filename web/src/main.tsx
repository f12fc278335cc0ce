import { render } from "preact";
import { App } from "./app";
import { startRouting } from "./state/place";
import { refreshSession, watchConnection } from "./state/session";
import { applySettings } from "./state/settings";
import { help } from "./ui/help";
import "./styles/base.css";
import "./styles/top.css";
import "./styles/grid.css";
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
  else if (event.key === "/" && document.getElementById("search")) document.getElementById("search")!.focus();
  else return;
  event.preventDefault();
});
