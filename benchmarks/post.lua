-- wrk script: one request for each of many users in turn, built before the run starts.
-- Arguments: path, content type, file with the body, users. Without any: a small request of a thousand users.
-- At the end one line of JSON, so that nobody has to parse wrk's table.
local requests = {}
local users = 1000
local turn = 0

function init(args)
  local path = args[1] or "/v2/models/wine/infer"
  local kind = args[2] or "application/json"
  local body = '{"inputs":[{"name":"input-0","datatype":"FP32","shape":[1,4],"data":[13.24,2.59,2.87,21.02]}],"id":"b"}'
  if args[3] then
    local file = assert(io.open(args[3], "rb"))
    body = file:read("*a")
    file:close()
  end
  users = tonumber(args[4] or users)
  for user = 1, users do
    local headers = {["Content-Type"] = kind, ["X-User-Id"] = "user-" .. user}
    requests[user] = wrk.format("POST", path, headers, body)
  end
end

function request()
  turn = turn % users + 1
  return requests[turn]
end

function done(summary, latency, requests)
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"p50_us":%.0f,"p99_us":%.0f}\n',
    summary.requests, summary.duration, summary.errors.connect, summary.errors.read, summary.errors.write,
    summary.errors.timeout, summary.errors.status, latency:percentile(50), latency:percentile(99)))
end
