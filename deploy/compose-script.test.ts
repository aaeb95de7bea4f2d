import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

const ROOT = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "holdfast-compose-"));
after(() => rmSync(folder, { recursive: true }));

/** What the engine says to each command of docker whose beginning matches: its last words and its status. */
type Engine = Readonly<Record<string, { readonly says?: string; readonly status?: number }>>;

const healthyEngine: Engine = {
  "compose ps -q envoy": { says: "c0ffee" },
  "inspect -f {{if .State.Running": { says: "healthy" },
};

let houses = 0;

/** A checkout with nothing in it but what the script reads, and an engine that answers as told. */
function makeHouse(engine: Engine | "missing") {
  houses += 1;
  const home = join(folder, String(houses));
  const tools = join(home, "tools");
  mkdirSync(tools, { recursive: true });
  mkdirSync(join(home, "deploy", "certificates"), { recursive: true });
  for (const path of ["compose.yaml", "deploy/compose.sh", ...MOUNTED]) {
    cpSync(join(ROOT, path), join(home, path));
    // As in a clone of somebody who keeps everything to himself.
    chmodSync(join(home, path), 0o600);
  }
  // The shell's own tools, and no docker that may be installed here.
  for (const tool of SHELL_TOOLS) linkTool(tool, tools);
  if (engine !== "missing") {
    const cases = Object.entries(engine).map(
      ([command, { says = "", status = 0 }]) =>
        `case "$*" in '${command}'*) printf '%s\\n' '${says}'; exit ${status};; esac`,
    );
    const script = ["#!/bin/sh", 'echo "$*" >>"$0.calls"', ...cases, "exit 0", ""].join("\n");
    writeFileSync(join(tools, "docker"), script);
    chmodSync(join(tools, "docker"), 0o755);
  }
  return {
    home,
    environmentFile: () => readFileSync(join(home, ".env"), "utf8"),
    environmentPath: join(home, ".env"),
    calls: () => readFileSync(join(tools, "docker.calls"), "utf8"),
    run(command: string, env: Readonly<Record<string, string>> = {}) {
      const { stdout, stderr, status } = spawnSync("/bin/sh", [join(home, "deploy", "compose.sh"), command], {
        encoding: "utf8",
        env: { PATH: tools, ...env },
      });
      return { stdout, status, complaint: stderr.trimEnd().split("\n") };
    },
  };
}

const MOUNTED = ["postgres.conf", "databases.sh", "rabbitmq.conf"].map((name) => `deploy/${name}`);

const SHELL_TOOLS = "chmod dirname mktemp rm cat cp cmp grep sed sort tail head od tr touch sleep".split(" ");

function linkTool(name: string, into: string): void {
  writeFileSync(join(into, name), `#!/bin/sh\nPATH=/usr/bin:/bin exec ${name} "$@"\n`);
  chmodSync(join(into, name), 0o755);
}

describe("what a person can mend is told in two lines:", () => {
  const cases: readonly [string, Engine | "missing", RegExp, RegExp][] = [
    ["no docker", "missing", /Docker is missing/, /docs\.docker\.com/],
    [
      "an engine that is not running",
      { info: { says: "Cannot connect", status: 1 } },
      /does not answer/,
      /Start/,
    ],
    ["no compose", { "compose version": { status: 1 } }, /Compose is missing/, /Install its plugin/],
    [
      "a port that is taken",
      { "run --rm": { says: "Bind for 127.0.0.1:8080 failed: port is already allocated", status: 125 } },
      /Port 8080 on 127\.0\.0\.1 is taken/,
      /HOLDFAST_PORT=9080 make compose/,
    ],
    [
      "a disk that is full while images are built",
      { "compose build": { says: "write /app: no space left on device", status: 1 } },
      /disk .* is full/,
      /docker system df/,
    ],
    [
      "a disk that is full at the start",
      { "compose up": { says: "mkdir: no space left on device", status: 1 } },
      /disk .* is full/,
      /docker system df/,
    ],
    [
      "data of other passwords",
      {
        "compose up": { says: "databases exited (1)", status: 1 },
        "compose ps -a -q": { says: "c0ffee" },
        "inspect -f {{.State.Status": { says: "exited 1 " },
        "inspect -f {{index": { says: "databases" },
        "logs --tail": { says: "FATAL: password authentication failed for user" },
      },
      /other passwords than those in \.env/,
      /make compose-clean compose/,
    ],
  ];
  for (const [what, engine, first, second] of cases) {
    test(what, () => {
      const { status, complaint } = makeHouse(engine).run("up");
      assert.equal(status, 1);
      assert.equal(complaint.length, 2, complaint.join("\n"));
      assert.match(complaint[0] ?? "", first);
      assert.match(complaint[1] ?? "", second);
    });
  }

  test("an engine that may not be used", () => {
    const denied = { info: { says: "permission denied while trying to connect", status: 1 } };
    const { complaint } = makeHouse(denied).run("up");
    assert.equal(complaint.length, 2);
  });

  for (const name of ["ORDER", "INVENTORY", "HOLDFAST_PORT"]) {
    test(`a senseless ${name}`, () => {
      const { status, complaint } = makeHouse(healthyEngine).run("up", { [name]: "many" });
      assert.equal(status, 1);
      assert.match(complaint[0] ?? "", new RegExp(`${name} is "many"`));
      assert.equal(complaint.length, 2);
    });
  }

  test("a demo without the system", () => {
    const { complaint } = makeHouse({}).run("demo");
    assert.deepEqual(complaint, ["The system does not run in containers now.", "Start it: make compose"]);
  });
});

describe("the passwords", () => {
  test("are made once, each another, readable by their owner alone, and kept", () => {
    const house = makeHouse(healthyEngine);
    assert.equal(house.run("up").status, 0);
    const first = house.environmentFile();
    const values = [...first.matchAll(/^[A-Z_]+PASSWORD=([0-9a-f]{48})$/gm)].map(([, value]) => value);
    assert(values.length >= 6);
    assert.equal(new Set(values).size, values.length);
    assert.equal(statSync(house.environmentPath).mode & 0o077, 0);
    assert.equal(house.run("up").status, 0);
    assert.equal(house.environmentFile(), first);
  });

  test("are added to what a person has set, and leave it as it is", () => {
    const house = makeHouse(healthyEngine);
    writeFileSync(house.environmentPath, "HOLDFAST_PORT=9000\nPOSTGRES_PASSWORD=mine\nORDER=2");
    const { stdout } = house.run("up");
    assert.match(stdout, /http:\/\/127\.0\.0\.1:9000/);
    assert.match(house.environmentFile(), /^HOLDFAST_PORT=9000\nPOSTGRES_PASSWORD=mine\nORDER=2\n[A-Z_]+=/);
    assert.match(house.calls(), /--scale order=2 --scale inventory=1/);
    assert.equal(statSync(house.environmentPath).mode & 0o077, 0, "nobody else may read them");
  });

  test("are refused if a URL would take them for something else", () => {
    const house = makeHouse(healthyEngine);
    writeFileSync(house.environmentPath, "POSTGRES_PASSWORD=half/half\n");
    const { status, complaint } = house.run("up");
    assert.equal(status, 1);
    assert.match(complaint.join("\n"), /^POSTGRES_PASSWORD in \.env has a character/);
    assert.doesNotMatch(complaint.join("\n"), /half/);
  });
});

test("what containers read is readable for them, whatever the clone's files were", () => {
  const house = makeHouse(healthyEngine);
  assert.equal(house.run("up").status, 0);
  for (const path of MOUNTED) assert.equal(statSync(join(house.home, path)).mode & 0o444, 0o444, path);
});

test("what the environment says goes before .env", () => {
  const house = makeHouse(healthyEngine);
  writeFileSync(house.environmentPath, "ORDER=2\n");
  house.run("up", { ORDER: "3" });
  assert.match(house.calls(), /--scale order=3 /);
});
