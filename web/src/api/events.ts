import { send } from "./client";
import { eventReader, type ServerEvent } from "./sse";

/** Follow a stream until it ends. EventSource cannot send a key, so fetch reads it. */
export async function follow(path: string, on: (event: ServerEvent) => void, signal: AbortSignal): Promise<void> {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const read = eventReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    read(value).forEach(on);
  }
}
