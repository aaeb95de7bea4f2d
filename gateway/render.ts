import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";

const gatewayFolder = import.meta.dirname;
const projectFolder = resolve(gatewayFolder, "..");
const descriptorName = "holdfast.binpb";

/** Addresses for one machine, each as `host:port`. */
export type GatewayAddresses = {
  /** Where clients come in. */
  readonly listen: string;
  /** Envoy's own interface; on loopback. */
  readonly admin: string;
  /** The RPC addresses of the instances of each service. */
  readonly clusters: { readonly order: readonly string[]; readonly inventory: readonly string[] };
  /** Where the files are written; made if missing. */
  readonly folder: string;
};

type Address = { socket_address: { address: string; port_value: number } };
type Cluster = { name: string; load_assignment?: { endpoints: unknown[] } };
type Bootstrap = {
  admin: { address: Address };
  static_resources: { listeners: { name: string; address: Address }[]; clusters: Cluster[] };
};

/** Writes the gateway's configuration with these addresses, and its descriptor; returns the former's path. */
export async function renderGateway(addresses: GatewayAddresses): Promise<string> {
  const folder = resolve(addresses.folder);
  await mkdir(folder, { recursive: true });
  const descriptor = join(folder, descriptorName);
  await buildDescriptor(descriptor);

  const bootstrap = await readBootstrap();
  bootstrap.admin.address = addressOf(addresses.admin);
  named(bootstrap.static_resources.listeners, "gateway").address = addressOf(addresses.listen);
  for (const name of ["order", "inventory"] as const) {
    const hosts = addresses.clusters[name].map((host) => ({ endpoint: { address: addressOf(host) } }));
    const cluster = named(bootstrap.static_resources.clusters, name);
    if (!cluster.load_assignment) throw new Error(`the cluster ${name} in envoy.yaml has no load_assignment`);
    cluster.load_assignment.endpoints = [{ lb_endpoints: hosts }];
  }

  const files = new Map([
    [descriptorName, descriptor],
    ["health.lua", join(gatewayFolder, "health.lua")],
  ]);
  const path = join(folder, "envoy.json");
  await writeFile(
    path,
    JSON.stringify(bootstrap, (_key, value: unknown) => (isString(value) && files.get(value)) || value, 1),
  );
  return path;
}

/** Writes the descriptor set of the whole contract, error details included, which the transcoder reads. */
export async function buildDescriptor(path: string): Promise<void> {
  const buf = join(projectFolder, "node_modules/.bin/buf");
  await promisify(execFile)(buf, ["build", "-o", path, "--as-file-descriptor-set"], { cwd: projectFolder });
}

async function readBootstrap(): Promise<Bootstrap> {
  // Anchors are used many times; the parser's limit is meant for files of strangers.
  const text = await readFile(join(gatewayFolder, "envoy.yaml"), "utf8");
  const bootstrap: unknown = parse(text, { maxAliasCount: -1 });
  if (!isBootstrap(bootstrap)) throw new Error("envoy.yaml has no admin or no static_resources");
  return bootstrap;
}

// The rest of its shape is Envoy's to judge.
function isBootstrap(value: unknown): value is Bootstrap {
  return typeof value === "object" && value !== null && "admin" in value && "static_resources" in value;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function addressOf(hostAndPort: string): Address {
  const { hostname, port } = new URL(`tcp://${hostAndPort}`);
  if (hostname === "" || port === "") throw new Error(`${hostAndPort} is not host:port`);
  return { socket_address: { address: hostname.replace(/^\[|\]$/g, ""), port_value: Number(port) } };
}

function named<Entry extends { name: string }>(entries: Entry[], name: string): Entry {
  const entry = entries.find((candidate) => candidate.name === name);
  if (!entry) throw new Error(`envoy.yaml has nothing named ${name}`);
  return entry;
}
