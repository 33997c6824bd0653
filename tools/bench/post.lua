-- wrk: the request of load.py (its fields come with -H, its body in the environment), and the figures as one line of JSON.
-- An argument is the mean, in ms, of the pause before each request of a connection: uniform from none to twice that, and the
-- same pauses in each run.
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")

-- wrk asks for a pause only where `delay` exists. It starts a request's clock after the pause.
function init(args)
    local mean = tonumber(args[1])
    if mean then
        function delay() return math.random(0, 2 * mean) end
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format('{"requests":%d,"us":%d,"errors":%d,"p50":%d,"p99":%d,"p999":%d}\n', summary.requests,
        summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50),
        latency:percentile(99), latency:percentile(99.9)))
end
