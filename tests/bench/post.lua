-- wrk: a small chat completion, and the figures as one line of JSON.
wrk.method = "POST"
wrk.body = '{"model":"gpt-4o","messages":[{"role":"user","content":"' .. string.rep("word ", 60) .. '"}]}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["api-key"] = "dummy"
wrk.headers["User-Agent"] = "OpenAI/Python 2.8.1"
wrk.headers["X-Stainless-Lang"] = "python"
wrk.headers["X-Stainless-Package-Version"] = "2.8.1"
wrk.headers["Accept"] = "application/json"
wrk.headers["Accept-Encoding"] = "gzip, deflate"

function done(summary, latency)
    local e = summary.errors
    io.write(string.format('{"requests":%d,"us":%d,"errors":%d,"p50":%d,"p99":%d}\n', summary.requests,
        summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
