// Two pages, hashed assets, and their compressed forms beside them.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const OUT = "../api/static";
const SMALLEST_BYTES = 512;

function compressed() {
  return {
    name: "compressed",
    closeBundle() {
      for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(path)) continue;
        const plain = readFileSync(path);
        if (plain.length < SMALLEST_BYTES) continue;
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
        writeFileSync(
          `${path}.br`,
          brotliCompressSync(plain, {
            params: {
              [constants.BROTLI_PARAM_QUALITY]: 11,
              [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
            },
          }),
        );
      }
    },
  };
}

export default defineConfig({
  plugins: [compressed()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy lets in files of this site only
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "docs.html"] },
  },
});
