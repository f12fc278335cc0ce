import { useState } from "preact/hooks";
import { setKey } from "../api/client";
import type { Session } from "../api/types";
import { refreshSession } from "../state/session";
import { Dialog } from "./dialog";

/** Asks for an API key. It is kept for this tab only, and never in the address. */
export function KeyDialog() {
  const [key, setTyped] = useState("");
  const [wrong, setWrong] = useState("");
  const submit = async (event: Event) => {
    event.preventDefault();
    const answer = await fetch("/v1/session", { headers: { Authorization: `Bearer ${key.trim()}` } }).catch(() => null);
    const session = answer?.ok ? ((await answer.json()) as Session) : null;
    if (!session) return setWrong("The service does not answer. Try again.");
    if (!session.scope) return setWrong("The service does not know this key.");
    setKey(key.trim());
    await refreshSession();
  };
  return (
    <Dialog title="A key is needed" class="narrow">
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <p>This service asks for an API key. Who runs it can make one: <code>crosslens keys add NAME</code></p>
        <label class="field">
          API key
          <input type="password" autoComplete="off" required value={key} aria-describedby="wrong-key" aria-invalid={wrong !== ""} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <p id="wrong-key" class="wrong" role="alert">{wrong}</p>
        <button class="main" type="submit">Go on</button>
        <p class="soft small">It is kept until this tab is closed, and sent to this service only.</p>
      </form>
    </Dialog>
  );
}
