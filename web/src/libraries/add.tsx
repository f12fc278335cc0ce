import { useRef, useState } from "preact/hooks";
import { libraryPath, postJson, remedied } from "../api/client";
import type { Job } from "../api/types";
import { watchJob } from "../state/jobs";
import { may } from "../state/session";
import { Icon } from "../ui/icon";
import { sendFiles } from "./upload";

const ACCEPTED = "image/*,.heic,.heif,.zip";

/** The ways in: files and folders dropped or chosen, an archive, and for admins a folder of the service's machine. */
export function Add({ name }: { name: string }) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const chosen = (field: HTMLInputElement) => {
    if (field.files?.length) void sendFiles(name, [...field.files]);
    field.value = "";
  };
  return (
    <section aria-label="Add pictures">
      <div class="drop-zone">
        <Icon name="upload" />
        <p>Drop pictures, folders or a zip here</p>
        <p class="row centred">
          <button onClick={() => files.current!.click()}>Choose files</button>
          <button class="quiet" onClick={() => folder.current!.click()}>Choose a folder</button>
        </p>
        <input ref={files} id="files" class="hidden" type="file" multiple accept={ACCEPTED} tabIndex={-1} aria-hidden="true" onChange={(event) => chosen(event.currentTarget)} />
        <input ref={folder} class="hidden" type="file" {...{ webkitdirectory: true }} tabIndex={-1} aria-hidden="true" onChange={(event) => chosen(event.currentTarget)} />
      </div>
      {may("admin") && <AddFolder name={name} />}
    </section>
  );
}

function AddFolder({ name }: { name: string }) {
  const [path, setPath] = useState("");
  const [error, setError] = useState("");
  const add = async (event: Event) => {
    event.preventDefault();
    try {
      const { job } = await postJson<{ job: Job }>(libraryPath(name, "/folders"), { path: path.trim() });
      setPath("");
      setError("");
      watchJob(job);
    } catch (problem) {
      setError(remedied(problem));
    }
  };
  return (
    <form class="add-folder" onSubmit={(event) => void add(event)}>
      <label class="field">
        Or a folder on the machine of the service; its pictures stay where they are
        <input required placeholder="/home/me/Pictures" value={path} spellcheck={false} aria-invalid={error !== ""} onInput={(event) => setPath(event.currentTarget.value)} />
      </label>
      <button type="submit"><Icon name="folder" /> Add folder</button>
      {error && <p class="wrong" role="alert">{error}</p>}
    </form>
  );
}
