// Made-up pictures, always the same: shapes of a few colours, or real files where PHOTOS names a folder.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const RATIOS = [[1500, 1000], [1000, 1500], [1200, 1200], [1600, 900], [1400, 1050], [2400, 800]];
const WORDS = ["beach", "forest", "harbour", "market", "mountain", "street", "garden", "kitchen", "snow", "river"];
const TAGS = ["family", "summer 2023", "people/anna", "trip"];

export function random(seed) {
  let state = seed * 2654435761 + 1013904223;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const photos = process.env.PHOTOS ? readdirSync(process.env.PHOTOS).filter((name) => /\.jpe?g$/i.test(name)).map((name) => join(process.env.PHOTOS, name)) : [];

function sizeOf(file) {
  const data = readFileSync(file);
  for (let at = 2; at < data.length - 9; at += 2 + data.readUInt16BE(at + 2)) {
    const mark = data[at + 1];
    if (mark >= 0xc0 && mark <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(mark)) return [data.readUInt16BE(at + 7), data.readUInt16BE(at + 5)];
  }
  return [1200, 900];
}
const sizes = photos.map(sizeOf);

export function item(library, id) {
  const draw = random(id + library.length * 7919);
  const which = Math.floor(draw() * (photos.length || 1));
  const [width, height] = photos.length ? sizes[which] : RATIOS[Math.floor(draw() * RATIOS.length)];
  const word = WORDS[Math.floor(draw() * WORDS.length)];
  const taken = new Date(Date.UTC(2024, 5, 20, 18) - Math.floor((id ** 1.25) * 36e5));
  const isText = library === "notes";
  return {
    item: `${library}:${id}`, library, id, kind: isText ? "text" : "image", name: isText ? `note ${id}` : `IMG_${String(4000 + id)} ${word}.jpg`,
    path: `/home/me/Pictures/${taken.getUTCFullYear()}/${word}/IMG_${4000 + id} ${word}.jpg`,
    score: null, relevance: null, width: isText ? null : width, height: isText ? null : height, size: 200_000 + Math.floor(draw() * 6e6),
    modified: taken.toISOString(), taken: draw() < 0.9 ? taken.toISOString().slice(0, 19) : null, camera: draw() < 0.8 ? "Google Pixel 7" : null,
    text: isText ? `A day at the ${word}, with some words about what was seen there, and who came along.` : null,
    caption: draw() < 0.3 ? `The ${word} in the evening` : null, tags: TAGS.filter(() => draw() < 0.15), online: draw() > 0.02, version: String(which), _photo: which,
  };
}

export function picture(hit) {
  if (photos.length) return { type: "image/jpeg", data: readFileSync(photos[hit._photo]) };
  const draw = random(hit.id + 17);
  const hue = Math.floor(draw() * 360);
  const { width, height } = hit;
  const shapes = Array.from({ length: 5 }, () => `<circle cx="${draw() * width}" cy="${draw() * height}" r="${(0.08 + draw() * 0.3) * height}" fill="hsl(${hue + draw() * 90} 55% ${30 + draw() * 45}%)" opacity=".75"/>`);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}"><rect width="100%" height="100%" fill="hsl(${hue} 40% 62%)"/>${shapes.join("")}<text x="50%" y="54%" font-size="${height / 8}" fill="#fff" text-anchor="middle">${hit.id}</text></svg>`;
  return { type: "image/svg+xml", data: Buffer.from(svg) };
}

