/** The calls about items and locations. */
import type { Sql } from "#libs/db";
import { decodePageToken, encodePageToken, type Handlers, pageOf, pageSizeOf } from "#libs/rpc";
import {
  ArchiveItemRequestSchema,
  CreateItemRequestSchema,
  CreateLocationRequestSchema,
  type InventoryService,
  UpdateItemRequestSchema,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";
import { requestKey } from "../convert/requests.ts";
import { itemMessage, itemStateOf, locationMessage } from "../convert/responses.ts";
import { archiveItem, createItem, listItems, readItem, updateItem } from "../store/items.ts";
import { createLocation, listLocations } from "../store/locations.ts";

type CatalogueHandlers = Pick<
  Handlers<(typeof InventoryService)["method"]>,
  "createItem" | "getItem" | "updateItem" | "archiveItem" | "listItems" | "createLocation" | "listLocations"
>;

/** The handlers of items and locations. */
export function createCatalogueHandlers(sql: Sql): CatalogueHandlers {
  return {
    createItem: async (request, { caller }) => {
      const { sku, displayName, reorderPoint } = request;
      const { request: key } = requestKey(CreateItemRequestSchema, request);
      return {
        item: itemMessage(await createItem(sql, caller.tenant, { sku, displayName, reorderPoint }, key)),
      };
    },

    getItem: async ({ sku }, { caller }) => ({ item: itemMessage(await readItem(sql, caller.tenant, sku)) }),

    updateItem: async (request, { caller }) => {
      const { sku, displayName, reorderPoint } = request;
      const { request: key } = requestKey(UpdateItemRequestSchema, request);
      return {
        item: itemMessage(await updateItem(sql, caller.tenant, { sku, displayName, reorderPoint }, key)),
      };
    },

    archiveItem: async (request, { caller }) => {
      const { request: key } = requestKey(ArchiveItemRequestSchema, request);
      return { item: itemMessage(await archiveItem(sql, caller.tenant, request.sku, key)) };
    },

    listItems: async ({ pageSize, pageToken, state }, { caller }) => {
      const filter = ["items", caller.tenant, state];
      const [after = ""] = decodePageToken(pageToken, filter, ["text"]) ?? [];
      const limit = pageSizeOf(pageSize);
      const wanted = { after, limit: limit + 1, state: itemStateOf(state) };
      const { page, last } = pageOf(await listItems(sql, caller.tenant, wanted), limit);
      return {
        items: page.map(itemMessage),
        nextPageToken: last ? encodePageToken(filter, [last.sku]) : "",
      };
    },

    createLocation: async (request, { caller }) => {
      const { locationId, displayName } = request;
      const { request: key } = requestKey(CreateLocationRequestSchema, request);
      const location = await createLocation(sql, caller.tenant, { locationId, displayName }, key);
      return { location: locationMessage(location) };
    },

    listLocations: async ({ pageSize, pageToken }, { caller }) => {
      const filter = ["locations", caller.tenant];
      const [after = ""] = decodePageToken(pageToken, filter, ["text"]) ?? [];
      const limit = pageSizeOf(pageSize);
      const found = await listLocations(sql, caller.tenant, { after, limit: limit + 1 });
      const { page, last } = pageOf(found, limit);
      return {
        locations: page.map(locationMessage),
        nextPageToken: last ? encodePageToken(filter, [last.locationId]) : "",
      };
    },
  };
}
