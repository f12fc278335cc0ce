import { inside, type Point, type View } from "./projection";

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

/** As many pictures as can be told apart; with more points in view they are dots. */
const MOST_PICTURES = 220;
const PICTURE = 54;

export function draw(canvas: HTMLCanvasElement, scene: Scene): void {
  const { width, height, view, points } = scene;
  const pen = canvas.getContext("2d")!;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const seen = inside(points, view, width, height, MOST_PICTURES);
  if (seen.length <= MOST_PICTURES) for (const at of seen) drawPicture(pen, scene, at, colour("--accent"));
  else drawDots(pen, scene, colour("--accent"));
  if (scene.at >= 0) ring(pen, scene, colour("--ink"));
  if (scene.crosshair) cross(pen, width / 2, height / 2, colour("--ink"));
}

function drawDots(pen: CanvasRenderingContext2D, { points, view, width, height }: Scene, colour: string): void {
  const size = Math.min(7, Math.max(2.5, 160 / Math.sqrt(points.length)));
  pen.globalAlpha = points.length > 4000 ? 0.45 : 0.65;
  pen.fillStyle = colour;
  for (const [px, py] of points) {
    const x = view.scale * px + view.x;
    const y = view.scale * py + view.y;
    if (x < -size || y < -size || x > width + size || y > height + size) continue;
    pen.beginPath();
    pen.arc(x, y, size / 2, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function drawPicture(pen: CanvasRenderingContext2D, { points, view, picture }: Scene, at: number, colour: string): void {
  const x = view.scale * points[at]![0] + view.x;
  const y = view.scale * points[at]![1] + view.y;
  const image = picture(at);
  if (!image?.complete || !image.naturalWidth) {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(x, y, 3.5, 0, 7);
    return pen.fill();
  }
  const by = PICTURE / Math.max(image.naturalWidth, image.naturalHeight);
  const [width, height] = [image.naturalWidth * by, image.naturalHeight * by];
  pen.drawImage(image, x - width / 2, y - height / 2, width, height);
}

function ring(pen: CanvasRenderingContext2D, { points, view, at }: Scene, colour: string): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(view.scale * points[at]![0] + view.x, view.scale * points[at]![1] + view.y, 8, 0, 7);
  pen.stroke();
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
