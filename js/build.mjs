// Builds modal_gpu_magic/ui/static from src. Each built file starts with the hash of all sources, which
// tests/checks/built.py compares, so that the check needs no node and detects a forgotten build.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const ENTRIES = ["attach", "dashboard", "notifier", "picker"];
const OUT = "../modal_gpu_magic/ui/static";

const sources = [...readdirSync("src").sort().map((name) => `src/${name}`), "build.mjs", "package-lock.json"];
const hash = createHash("sha256");
for (const name of sources) hash.update(name).update("\0").update(readFileSync(name)).update("\0");
const banner = `/* built from js/, sources ${hash.digest("hex")} */`;

await build({
  entryPoints: ENTRIES.flatMap((name) => [`src/${name}.ts`, `src/${name}.css`]),
  outdir: OUT,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  banner: { js: banner, css: banner },
  logLevel: "info",
});
