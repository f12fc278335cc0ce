export interface ServerEvent {
  event: string;
  data: string;
}

/** Splits a stream of server-sent events: feed it text, it gives the events that are whole. */
export function eventReader(): (chunk: string) => ServerEvent[] {
  let rest = "";
  return (chunk) => {
    const text = rest + chunk;
    // A carriage return at the end may be half of a line's end.
    const held = text.endsWith("\r") ? "\r" : "";
    const blocks = text.slice(0, text.length - held.length).replace(/\r\n?/g, "\n").split("\n\n");
    rest = (blocks.pop() ?? "") + held;
    return blocks.map(readBlock).filter((event): event is ServerEvent => event !== null);
  };
}

function readBlock(block: string): ServerEvent | null {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") event = value ?? "";
    if (field === "data") data.push(value ?? "");
  }
  return data.length ? { event, data: data.join("\n") } : null;
}
