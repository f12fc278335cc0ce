import { defineConfig } from "vite";

const SERVICE = "http://127.0.0.1:8766";

export default defineConfig({
  base: "/",
  server: { port: 5173, proxy: { "/v1": SERVICE, "/healthz": SERVICE } },
  build: {
    outDir: "../src/crosslens/serve/page",
    emptyOutDir: true,
    target: "es2022",
    // Every asset is a file of its own: the service's policy allows no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  test: { include: ["test/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
