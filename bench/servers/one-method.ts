import { create, isMessage } from "@bufbuild/protobuf";
import type { Call, Handlers, RpcService } from "#libs/rpc";
import {
  CreateReservationRequestSchema,
  CreateReservationResponseSchema,
  InventoryService,
} from "#proto/holdfast/inventory/v1/inventory_pb.ts";

type CreateReservation = Handlers<(typeof InventoryService)["method"]>["createReservation"];

/** InventoryService with one method only, for a server that is measured by it. */
export function onlyCreateReservation(handle: CreateReservation): RpcService {
  const desc = InventoryService.method.createReservation;
  return {
    desc: InventoryService,
    methods: [
      {
        desc,
        path: `/${InventoryService.typeName}/${desc.name}`,
        handle: async (request, call: Call) => {
          if (!isMessage(request, CreateReservationRequestSchema)) throw new Error("another message came");
          const response = await handle(request, call);
          return isMessage(response, CreateReservationResponseSchema)
            ? response
            : create(CreateReservationResponseSchema, response);
        },
      },
    ],
  };
}
