import { ApiError, connection, getJson } from "../api/client";
import type { Library, Scope, Session } from "../api/types";
import { createStore } from "./store";

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
}
