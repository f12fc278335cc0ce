/** One archive of many files, stored as they are: pictures are compressed already. */

export interface Entry {
  name: string;
  data: Uint8Array<ArrayBuffer>;
  time: Date;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function crc32(data: Uint8Array): number {
  let sum = ~0;
  for (let at = 0; at < data.length; at++) sum = (sum >>> 8) ^ TABLE[(sum ^ data[at]!) & 255]!;
  return ~sum >>> 0;
}

/** Numbers of 2 (positive) and 4 bytes, little end first. */
function packed(...fields: [size: 2 | 4, value: number][]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/** Add files one by one; `end` gives the archive. It holds less than 4 GiB. */
export function archive(): { add: (entry: Entry) => void; end: () => Blob } {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const index: Uint8Array<ArrayBuffer>[] = [];
  const taken = new Set<string>();
  let offset = 0;
  const put = (part: Uint8Array<ArrayBuffer>) => ((offset += part.length), parts.push(part));
  const add = ({ name, data, time }: Entry) => {
    const path = new TextEncoder().encode(unlike(name, taken));
    const day = (Math.max(0, time.getFullYear() - 1980) << 9) | ((time.getMonth() + 1) << 5) | time.getDate();
    const second = (time.getHours() << 11) | (time.getMinutes() << 5) | (time.getSeconds() >> 1);
    // Version 2.0, names in UTF-8, stored, when, what, how much.
    const facts = [[2, 20], [2, 0x0800], [2, 0], [2, second], [2, day], [4, crc32(data)], [4, data.length], [4, data.length], [2, path.length], [2, 0]] as [2 | 4, number][];
    index.push(packed([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), path);
    put(packed([4, 0x04034b50], ...facts));
    put(path);
    put(data);
  };
  const end = () => {
    const size = index.reduce((sum, part) => sum + part.length, 0);
    const last = packed([4, 0x06054b50], [2, 0], [2, 0], [2, index.length / 2], [2, index.length / 2], [4, size], [4, offset], [2, 0]);
    return new Blob([...parts, ...index, last], { type: "application/zip" });
  };
  return { add, end };
}

/** "dog.jpg", "dog (2).jpg": two files of one name would be one when they are taken out. */
export function unlike(name: string, taken: Set<string>): string {
  const dot = name.lastIndexOf(".") > 0 ? name.lastIndexOf(".") : name.length;
  let free = name;
  for (let turn = 2; taken.has(free.toLowerCase()); turn++) free = `${name.slice(0, dot)} (${turn})${name.slice(dot)}`;
  taken.add(free.toLowerCase());
  return free;
}
