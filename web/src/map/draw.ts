import { inside, type Point, type View } from "./projection";
import { spread } from "./spread";

export interface Scene {
  points: readonly Point[];
  view: View;
  width: number;
  height: number;
  /** The point that is looked at; -1 for none. */
  at: number;
  picture: (index: number) => HTMLImageElement | null;
  crosshair: boolean;
}

/** Sides of a picture in pixels: as it is among many, and where it stands alone. */
const PICTURE = 54;
const LARGE = 84;
// Cells are between this and half of it, so pictures seldom lie over each other.
const CELL = 2 * PICTURE;
const SOME = 90;
const FEW = 24;

export function draw(canvas: HTMLCanvasElement, scene: Scene): void {
  const { width, height, view, points } = scene;
  const pen = canvas.getContext("2d")!;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const seen = inside(points, view, width, height);
  drawDots(pen, scene, seen, colour("--accent"));
  const side = seen.length <= FEW ? LARGE : PICTURE;
  for (const at of seen.length <= SOME ? seen : spread(points, seen, view, CELL)) drawPicture(pen, scene, at, side, colour("--paper"));
  if (scene.at >= 0) drawPicture(pen, scene, scene.at, side, colour("--accent"));
  if (scene.crosshair) cross(pen, width / 2, height / 2, colour("--ink"));
}

function drawDots(pen: CanvasRenderingContext2D, { points, view }: Scene, seen: readonly number[], colour: string): void {
  const size = Math.min(7, Math.max(2.5, 160 / Math.sqrt(points.length)));
  pen.globalAlpha = points.length > 4000 ? 0.45 : 0.65;
  pen.fillStyle = colour;
  for (const at of seen) {
    pen.beginPath();
    pen.arc(view.scale * points[at]![0] + view.x, view.scale * points[at]![1] + view.y, size / 2, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

/** Nothing before it has come: its dot is there. */
function drawPicture(pen: CanvasRenderingContext2D, { points, view, picture }: Scene, at: number, side: number, edge: string): void {
  const image = picture(at);
  if (!image?.complete || !image.naturalWidth) return;
  const by = side / Math.max(image.naturalWidth, image.naturalHeight);
  const [width, height] = [image.naturalWidth * by, image.naturalHeight * by];
  const [left, top] = [view.scale * points[at]![0] + view.x - width / 2, view.scale * points[at]![1] + view.y - height / 2];
  pen.fillStyle = edge;
  pen.fillRect(left - 2, top - 2, width + 4, height + 4);
  pen.drawImage(image, left, top, width, height);
}

function cross(pen: CanvasRenderingContext2D, x: number, y: number, colour: string): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
    pen.moveTo(x + 5 * dx, y + 5 * dy);
    pen.lineTo(x + 14 * dx, y + 14 * dy);
  }
  pen.stroke();
}
