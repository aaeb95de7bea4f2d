import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

const ROOT = join(import.meta.dirname, "..");
const FILES = [
  "compose.yaml",
  "deploy",
  "gateway/envoy.yaml",
  ".env.example",
  ".dockerignore",
  "package.json",
];

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-plants-"));
});

after(() => rm(folder, { recursive: true }));

/** What the checks of compose.test.ts say of the repository with this change in one of its files. */
async function check(path: string, from: string, to: string): Promise<{ status: number; output: string }> {
  const copy = await mkdtemp(join(folder, "copy-"));
  for (const file of FILES) await cp(join(ROOT, file), join(copy, file), { recursive: true });
  const text = await readFile(join(copy, path), "utf8");
  assert(text.includes(from), `${path} has nothing like ${from}`);
  await writeFile(join(copy, path), text.replaceAll(from, to));
  const child = spawn(process.execPath, [join(import.meta.dirname, "compose.test.ts")], {
    env: { CHECKED_FOLDER: copy },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
  const status = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)));
  return { status, output };
}

test("without a plant there is no finding", async () => {
  const { status, output } = await check("compose.yaml", "services:", "services:");
  assert.equal(status, 0, output);
});

describe("the checks see", { concurrency: 2 }, () => {
  const plants: readonly [string, string, string, string][] = [
    ["a variable that is not set", "compose.yaml", "  INVENTORY_URL: http://inventory:8080\n", ""],
    ["a variable that nobody reads", "compose.yaml", "  INVENTORY_URL:", "  ELSEWHERE: 1\n  INVENTORY_URL:"],
    ["another standard", "compose.yaml", "EXPIRY_NUDGES:-on", "EXPIRY_NUDGES:-off"],
    ["a setting that is not documented", ".env.example", "HOLDFAST_BIND=", "HOLDFAST_BOUND="],
    ["another's database", "compose.yaml", "5432/holdfast_inventory", "5432/holdfast_order"],
    ["a port that nobody listens on", "deploy/Dockerfile", "0.0.0.0:8080", "0.0.0.0:8081"],
    ["a name that the gateway does not know", "gateway/envoy.yaml", "address: inventory,", "address: stock,"],
    [
      "a store's port that is published",
      "compose.yaml",
      "    shm_size:",
      '    ports: ["5432"]\n    shm_size:',
    ],
    ["an image without a version", "compose.yaml", "postgres:18", "postgres:latest"],
    ["another Envoy", "deploy/Dockerfile", "envoyproxy/envoy:v1.40.0 AS", "envoyproxy/envoy:v1.39.0 AS"],
    ["another version of the project", "package.json", '"version": "0.1.0"', '"version": "0.2.0"'],
    ["a setting of Postgres", "deploy/postgres.conf", "synchronous_commit = on", "synchronous_commit = off"],
    ["a setting of RabbitMQ", "deploy/rabbitmq.conf", "absolute = 500MB", "absolute = 5MB"],
    ["a container with rights", "compose.yaml", "cap_drop: [ALL]", "cap_drop: [CHOWN]"],
    ["a password in the file", "compose.yaml", "POSTGRES_PASSWORD: ${", "POSTGRES_PASSWORD: secret # ${"],
    ["a secret in the build", ".dockerignore", "!package.json", "!.env"],
  ];
  for (const [what, path, from, to] of plants) {
    test(what, async () => {
      const { status, output } = await check(path, from, to);
      assert.notEqual(status, 0);
      assert.match(output, /AssertionError/);
    });
  }
});
