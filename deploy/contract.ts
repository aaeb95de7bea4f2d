/**
 * `node deploy/contract.ts FILE` writes the contract as a descriptor set, which the gateway's transcoder
 * reads. It is taken from the generated code, so that an image is built of what runs alone, without the
 * contract's compiler.
 */
import { writeFileSync } from "node:fs";
import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_google_rpc_error_details } from "#proto/google/rpc/error_details_pb.ts";
import { file_holdfast_inventory_v1_inventory } from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { file_holdfast_order_v1_order } from "#proto/holdfast/order/v1/order_pb.ts";

/** What the gateway serves; without the last one the details of errors would be lost in JSON. */
const ROOTS = [
  file_holdfast_order_v1_order,
  file_holdfast_inventory_v1_inventory,
  file_google_rpc_error_details,
];

/** The descriptor set of the whole contract in binary, each file after those that it imports. */
export function describeContract(): Uint8Array {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file.name)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.name, file);
  };
  for (const root of ROOTS) add(root);
  const set = create(FileDescriptorSetSchema, { file: [...files.values()].map((file) => file.proto) });
  return toBinary(FileDescriptorSetSchema, set);
}

const [, script, path] = process.argv;
if (path !== undefined && script === import.meta.filename) writeFileSync(path, describeContract());
