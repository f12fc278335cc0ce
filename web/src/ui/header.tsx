import { SearchBox } from "../search/box";
import { connection, setKey } from "../api/client";
import { lastSearchLink, linkTo, place } from "../state/place";
import { service } from "../state/session";
import { settings, type Theme } from "../state/settings";
import { useStore } from "../state/store";
import { help } from "./help";
import { Icon, type IconName } from "./icon";

const VIEWS: { view: "search" | "libraries" | "workbench"; text: string; icon: IconName }[] = [
  { view: "search", text: "Search", icon: "grid" },
  { view: "libraries", text: "Libraries", icon: "library" },
  { view: "workbench", text: "Workbench", icon: "bench" },
];

export function Header() {
  const route = useStore(place, (value) => value);
  return (
    <header class="top">
      <a class="brand" href={linkTo({})} aria-label="crosslens, home"><Mark /><span>crosslens</span></a>
      {route.view === "search" ? <SearchBox /> : <span class="spring" />}
      <nav aria-label="Views">
        {VIEWS.map(({ view, text, icon }) => (
          <a key={view} href={view === "search" ? lastSearchLink() : linkTo({ view })} {...(route.view === view ? { "aria-current": "page" as const } : {})}>
            <Icon name={icon} /><span>{text}</span>
          </a>
        ))}
      </nav>
      <div class="tools">
        <ThemeButton />
        <button class="quiet round" aria-label="Help and keys" title="Help (?)" onClick={() => help.set({ isOpen: true })}><Icon name="help" /></button>
      </div>
    </header>
  );
}

const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><circle cx="12" cy="16" r="8" /><circle cx="20" cy="16" r="8" /></svg>
);

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const SHOWN: Record<Theme, { icon: IconName; text: string }> = {
  auto: { icon: "auto", text: "as the system" },
  light: { icon: "sun", text: "light" },
  dark: { icon: "moon", text: "dark" },
};

function ThemeButton() {
  const theme = useStore(settings, (value) => value.theme);
  const { icon, text } = SHOWN[theme];
  return (
    <button class="quiet round" aria-label={`Colours: ${text}. Change`} title={`Colours: ${text}`} onClick={() => settings.set({ theme: NEXT[theme] })}>
      <Icon name={icon} />
    </button>
  );
}

/** Below everything: which model answers, and the way out of a key. */
export function Footer() {
  const session = useStore(service, (value) => value.session);
  const key = useStore(connection, (value) => value.key);
  if (!session) return null;
  return (
    <footer class="foot soft small">
      <span>crosslens {session.version}{session.model ? ` · ${session.model}` : ""}</span>
      {session.keys && key && <button class="quiet" onClick={() => (setKey(null), location.reload())}>Forget the key</button>}
    </footer>
  );
}
