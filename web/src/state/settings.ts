import { createStore } from "./store";

export type Theme = "auto" | "light" | "dark";

const KEPT = "crosslens-settings";
export const ROW_HEIGHTS = [110, 160, 220, 300, 400] as const;

interface Settings {
  theme: Theme;
  /** Which of ROW_HEIGHTS. */
  size: number;
  recent: string[];
  /** Whether details stand beside a picture that is shown large. */
  details: boolean;
}

const FIRST: Settings = { theme: "auto", size: matchMedia("(max-width: 600px)").matches ? 1 : 2, recent: [], details: true };

function kept(): Settings {
  try {
    return { ...FIRST, ...(JSON.parse(localStorage.getItem(KEPT) ?? "{}") as Partial<Settings>) };
  } catch {
    return FIRST;
  }
}

export const settings = createStore<Settings>(kept());

export function applySettings(): void {
  const apply = () => {
    const { theme } = settings.get();
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    try {
      localStorage.setItem(KEPT, JSON.stringify(settings.get()));
    } catch {
      // Storage may be full or forbidden; the settings then last as long as the page.
    }
  };
  apply();
  settings.watch(apply);
}

export const forget = (): void => settings.set({ recent: [] });

export function remember(query: string): void {
  if (query.trim()) settings.set(({ recent }) => ({ recent: [query, ...recent.filter((one) => one !== query)].slice(0, 8) }));
}
