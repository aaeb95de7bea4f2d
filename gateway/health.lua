-- Health, seen from outside. A caller may ask for the gateway as a whole (GET /healthz, or the gRPC health
-- check with an empty name) or for one service (the same check with its name). The gateway has no state of
-- its own to tell: it asks the services, or lets the right one answer in the protocol of the question.

local CLUSTER_OF_SERVICE = {
  ["holdfast.order.v1.OrderService"] = "order",
  ["holdfast.inventory.v1.InventoryService"] = "inventory",
}

-- One is asked after the other: when both hang, a probe is still answered within 2 s.
local CHECK_TIMEOUT_MS = 1000

-- SERVING, NOT_SERVING, or UNREACHABLE when there is no answer that says either.
local function ask(handle, cluster)
  local headers, body = handle:httpCall(cluster, {
    [":method"] = "POST",
    [":path"] = "/grpc.health.v1.Health/Check",
    [":authority"] = cluster,
    ["content-type"] = "application/json",
    ["connect-protocol-version"] = "1",
    ["x-request-id"] = handle:headers():get("x-request-id"),
  }, "{}", CHECK_TIMEOUT_MS, false)
  if headers[":status"] ~= "200" or body == nil then
    return "UNREACHABLE"
  end
  return body:match('"status"%s*:%s*"([A-Z_]+)"') or "UNREACHABLE"
end

local function answer_healthz(handle)
  local order = ask(handle, "order")
  local inventory = ask(handle, "inventory")
  local ok = order == "SERVING" and inventory == "SERVING"
  handle:respond(
    {
      [":status"] = ok and "200" or "503",
      ["content-type"] = "application/json",
      ["cache-control"] = "no-store",
    },
    string.format(
      '{"status":"%s","services":{"order":"%s","inventory":"%s"}}',
      ok and "ok" or "unavailable", order, inventory
    )
  )
end

-- The name in a binary HealthCheckRequest: field 1, whose length is one byte for every name that matters.
local function name_in_message(message)
  if #message == 0 then
    return ""
  end
  if message:byte(1) == 0x0a and message:byte(2) == #message - 2 then
    return message:sub(3)
  end
  return nil
end

-- The name asked for; nil when it cannot be read, which no service knows either.
local function requested_name(handle)
  local content_type = handle:headers():get("content-type") or ""
  local buffer = handle:body(true)
  local body = buffer:length() > 0 and buffer:getBytes(0, buffer:length()) or ""
  local framed = content_type:find("^application/grpc") or content_type:find("^application/connect%+")
  if framed then
    -- One byte of flags and four of length; a compressed message (flag 1) is not opened here.
    if #body < 5 or body:byte(1) % 2 == 1 then
      return nil
    end
    body = body:sub(6)
  end
  if content_type:find("json", 1, true) then
    return body:match('"service"%s*:%s*"([^"]*)"') or ""
  end
  return name_in_message(body)
end

-- The service that is to answer. For the gateway as a whole it is the one that does not serve, if there is
-- one: its own answer (or its absence) is then the gateway's.
local function cluster_to_ask(handle, path, name)
  if name ~= "" then
    return CLUSTER_OF_SERVICE[name] or "order"
  end
  if path ~= "/grpc.health.v1.Health/Check" then
    return "none"
  end
  if ask(handle, "order") ~= "SERVING" then
    return "order"
  end
  return "inventory"
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path"):match("^[^?]*")
  if path == "/healthz" then
    answer_healthz(handle)
    return
  end
  local cluster = cluster_to_ask(handle, path, requested_name(handle))
  handle:streamInfo():dynamicMetadata():set("holdfast.health", "cluster", cluster)
  handle:clearRouteCache()
end
