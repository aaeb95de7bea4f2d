export { RenewedMap } from "./map.ts";
export { RenewedSet } from "./set.ts";
