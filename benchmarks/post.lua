-- wrk script: one small Open Inference Protocol request for each of 1000 users in turn, built before the run starts.
-- At the end one line of JSON, so that nobody has to parse wrk's table.
local body = '{"inputs":[{"name":"input-0","datatype":"FP32","shape":[1,4],"data":[13.24,2.59,2.87,21.02]}],"id":"b"}'
local users = 1000
local requests = {}
local turn = 0

function init(args)
  for user = 1, users do
    local headers = {["Content-Type"] = "application/json", ["X-User-Id"] = "user-" .. user}
    requests[user] = wrk.format("POST", "/v2/models/wine/infer", headers, body)
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
