import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { buildDescriptor, renderGateway } from "../gateway/render.ts";
import { findEnvoy } from "../stack/envoy.ts";
import { describeContract } from "./contract.ts";

const gateway = join(import.meta.dirname, "..", "gateway");
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-contract-"));
});

after(() => rm(folder, { recursive: true }));

/** What of a file says how messages are read: comments do not, nor names that follow from others. */
function meaningOf(file: FileDescriptorProto): unknown {
  const json = toJson(FileDescriptorProtoSchema, { ...file, sourceCodeInfo: undefined });
  return JSON.parse(JSON.stringify(json, (key, value: unknown) => (key === "jsonName" ? undefined : value)));
}

test("the contract in the image is that of the protos", async () => {
  const path = join(folder, "buf.binpb");
  await buildDescriptor(path);
  const ofProtos = fromBinary(FileDescriptorSetSchema, await readFile(path));
  const own = fromBinary(FileDescriptorSetSchema, describeContract());
  const names = own.file.map((file) => file.name);
  assert(names.filter((name) => name.startsWith("holdfast/")).length >= 2);
  for (const file of own.file.filter(({ name }) => name.startsWith("holdfast/"))) {
    const same = ofProtos.file.find(({ name }) => name === file.name);
    assert(same, file.name);
    assert.deepEqual(meaningOf(file), meaningOf(same), file.name);
  }
});

test("Envoy takes the gateway's files as in the image, and as rendered for one machine", async () => {
  const envoy = await findEnvoy((line) => process.stderr.write(`${line}\n`));
  const accepts = async (config: string) => {
    const args = ["--mode", "validate", "-c", config, "--disable-hot-restart", "--log-level", "critical"];
    const { stdout } = await promisify(execFile)(envoy, args, { cwd: folder });
    assert.match(stdout, /OK/);
  };
  for (const name of ["envoy.yaml", "health.lua"]) await copyFile(join(gateway, name), join(folder, name));
  await writeFile(join(folder, "holdfast.binpb"), describeContract());
  await accepts("envoy.yaml");
  const clusters = { order: ["127.0.0.1:19002"], inventory: ["127.0.0.1:19003"] };
  const addresses = { listen: "127.0.0.1:19000", admin: "127.0.0.1:19001", clusters };
  await accepts(await renderGateway({ ...addresses, folder: join(folder, "rendered") }));
});
