import { useState } from "preact/hooks";
import { postJson, remedied } from "../api/client";
import { go } from "../state/place";
import { refreshLibraries } from "../state/session";
import { Icon } from "../ui/icon";

// As the service wants names; the page says it before it refuses.
const NAME = "[a-z0-9][a-z0-9._\\-]*";

/** Makes a library, and goes there. */
export function NewLibrary() {
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  const make = async (event: Event) => {
    event.preventDefault();
    try {
      await postJson("/v1/libraries", { name: name.trim() });
      await refreshLibraries();
      go({ view: "libraries", name: name.trim() });
    } catch (problem) {
      setError(remedied(problem));
    }
  };
  return (
    <form class="card new" onSubmit={(event) => void make(event)}>
      <label class="field">
        New library
        <input required placeholder="holidays" pattern={NAME} title="Small letters, digits, dots, dashes and underscores" autoCapitalize="off" spellcheck={false} value={name} aria-invalid={error !== ""} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      {error && <p class="wrong" role="alert">{error}</p>}
      <button type="submit"><Icon name="plus" /> Make it</button>
    </form>
  );
}
