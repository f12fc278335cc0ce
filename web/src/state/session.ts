import { useEffect, useRef } from "preact/hooks";
import { ApiError, connection, getJson } from "../api/client";
import type { Library, Scope, Session } from "../api/types";
import { createStore, useStore } from "./store";

interface State {
  session: Session | null;
  libraries: Library[] | null;
  problem: ApiError | null;
}

export const service = createStore<State>({ session: null, libraries: null, problem: null });

/** Learn what the service is, and which libraries it has. */
export async function refreshSession(): Promise<void> {
  try {
    const session = await getJson<Session>("/v1/session");
    service.set({ session, problem: null });
    if (session.keys && !session.scope) connection.set({ keyWanted: true });
    else await refreshLibraries();
  } catch (error) {
    if (error instanceof ApiError) service.set({ problem: error });
  }
}

export async function refreshLibraries(): Promise<void> {
  try {
    const { libraries } = await getJson<{ libraries: Library[] }>("/v1/libraries");
    service.set({ libraries, problem: null });
  } catch (error) {
    if (error instanceof ApiError) service.set({ problem: error });
  }
}

const ORDER: readonly Scope[] = ["read", "write", "admin"];

export function may(scope: Scope, session = service.get().session): boolean {
  return session?.scope != null && ORDER.indexOf(session.scope) >= ORDER.indexOf(scope);
}

/** Do something again when the service is back. */
export function useReturn(act: () => unknown): void {
  const reachable = useStore(connection, (value) => value.reachable);
  const before = useRef(reachable);
  useEffect(() => {
    if (reachable && !before.current) act();
    before.current = reachable;
  }, [reachable]);
}

/** Where pictures are to be added first, while those libraries that are searched hold nothing; null for nowhere. */
export function emptyOne(names: readonly string[], { libraries, session } = service.get()): string | null {
  const chosen = (libraries ?? []).filter(({ name }) => !names.length || names.includes(name));
  if (!may("write", session) || chosen.some((one) => one.items)) return null;
  return chosen.find((one) => one.writable)?.name ?? null;
}

const RETRY_MS = 2500;

/** While the service does not answer, ask every few seconds whether it is back. */
export function watchConnection(): void {
  let timer = 0;
  const look = () => {
    const away = !connection.get().reachable || service.get().problem?.status === 503;
    if (!away || timer) return;
    timer = setTimeout(() => {
      timer = 0;
      void refreshSession().finally(look);
    }, RETRY_MS);
  };
  connection.watch(look);
  service.watch(look);
  addEventListener("online", () => void refreshSession());
  // Who comes back to the page wants to know what others have added meanwhile.
  addEventListener("focus", () => void (service.get().libraries && refreshLibraries()));
}
