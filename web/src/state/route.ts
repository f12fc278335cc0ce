import { BESTS } from "../grid/arrange";
import type { Arrange } from "../grid/rows";

/** Where one is: all of it stands in the address, so that links and the way back work. */
export interface Route {
  view: "search" | "libraries" | "workbench";
  /** The library shown, or the bench; "" for none. */
  name: string;
  query: string;
  /** Libraries searched; none means all. */
  libraries: string[];
  arrange: Arrange;
  /** How many of the best are arranged; 0: as it fits. */
  best: number;
  relevant: boolean;
  /** Pictures of the query that were pasted or dropped, by their numbers in this visit. */
  pictures: string[];
  /** The concept that is being taught; "" for none. */
  teach: string;
  /** The item that is shown large. */
  item: string | null;
}

const ARRANGES: readonly Arrange[] = ["score", "date", "day", "month", "year", "path"];
const VIEWS: readonly Route["view"][] = ["search", "libraries", "workbench"];

export const HOME: Route = {
  view: "search", name: "", query: "", libraries: [], arrange: "score", best: 0, relevant: false, pictures: [], teach: "", item: null,
};

export function readRoute(hash: string): Route {
  const [path = "", search = ""] = splitOnce(hash.replace(/^#\/?/, ""), "?");
  const [view = "", name = ""] = splitOnce(path, "/");
  const given = new URLSearchParams(search);
  const arrange = given.get("arrange") as Arrange;
  return {
    view: VIEWS.find((one) => one === view) ?? "search",
    name: decode(name),
    query: given.get("q") ?? "",
    libraries: given.getAll("in"),
    arrange: ARRANGES.includes(arrange) ? arrange : "score",
    best: BESTS.find((one) => String(one) === given.get("best")) ?? 0,
    relevant: given.get("relevant") === "1",
    pictures: given.getAll("picture"),
    teach: given.get("teach") ?? "",
    item: given.get("item"),
  };
}

export function writeRoute(route: Route): string {
  const given = new URLSearchParams();
  if (route.query) given.set("q", route.query);
  for (const library of route.libraries) given.append("in", library);
  if (route.arrange !== "score") given.set("arrange", route.arrange);
  if (route.best) given.set("best", String(route.best));
  if (route.relevant) given.set("relevant", "1");
  for (const picture of route.pictures) given.append("picture", picture);
  if (route.teach) given.set("teach", route.teach);
  if (route.item) given.set("item", route.item);
  const search = given.toString();
  return `#/${route.view}${route.name ? `/${encodeURIComponent(route.name)}` : ""}${search ? `?${search}` : ""}`;
}

function splitOnce(text: string, mark: string): string[] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
