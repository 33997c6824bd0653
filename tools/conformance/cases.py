"""The requests: a name and bytes each. `@@` becomes the number of the request, by which an upstream knows whose it is."""

HOST = "Host: a\r\n"
HIDDEN = "GET /@@/hidden HTTP/1.1\r\nHost: a\r\n\r\n"

LENGTHS = [
    "5", "05", "0005", "+5", "-5", "-0", "0x5", "0o5", "5.0", "5e0", "5 5", "5,5", "5, 5", "5,6", "5,", ",5", "", " ",
    "\t5\t", "five", "5five", "5;a", '"5"', "1_0", "5\0", "\x0b5", "\x0c5", "5\x0b", "\xa05", "\xd9\xa1", "18446744073709551616",
    "18446744073709551621", "99999999999999999999999", "9223372036854775808", "4294967301",
]
CODINGS = [
    "chunked", "Chunked", "CHUNKED", "\tchunked", "chunked\t", " chunked ", "chunked,", ",chunked", ", chunked", "chunked, chunked",
    "chunked,gzip", "gzip,chunked", "gzip, chunked", "gzip", "identity", "identity, chunked", "chunked, identity", "", "xchunked",
    "chunkedx", "chunke", "chunked;q=1", "chunked; q=1", '"chunked"', "'chunked'", "chunked gzip", "x chunked", "chunked\0",
    "\x0bchunked", "\x0cchunked", "chunked\x0b", "\xa0chunked", "chunked\xa0", "chun\0ked", "trailers, chunked", "chunked;", "(x)chunked",
]
# Behind these field lines, in this order, come a last chunk and a hidden request.
BOTH = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 43\r\n",
    "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "Transfer-Encoding:\r\nContent-Length: 5\r\n",
    "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
    "Transfer-Encoding\t: chunked\r\nContent-Length: 5\r\n", "Content-Length : 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", "Transfer-Encoding: x\r\n chunked\r\nContent-Length: 5\r\n",
    "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", " Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "Transfer-Encoding\0: chunked\r\nContent-Length: 5\r\n",
    "Transfer Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 0\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\ncontent-length: 5\r\n", "Content-Length: 5\r\nContent-Length:\r\n", "Content_Length: 5\r\n",
    "Content-Length:\r\n 5\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
    "Connection: Content-Length\r\nContent-Length: 5\r\n", "TE: chunked\r\nContent-Length: 5\r\n",
    "X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Transfer-Encoding; chunked\r\nContent-Length: 5\r\n",
]
CHUNKS = [
    "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "05\r\nhello\r\n0\r\n\r\n", "000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n000\r\n\r\n",
    "A\r\nhellohello\r\n0\r\n\r\n", "a\r\nhellohello\r\n0\r\n\r\n", "5;a\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n",
    '5;a="b c"\r\nhello\r\n0\r\n\r\n', "5 ;a\r\nhello\r\n0\r\n\r\n", "5; a\r\nhello\r\n0\r\n\r\n", "5;\r\nhello\r\n0\r\n\r\n",
    "5;a[=b\r\nhello\r\n0\r\n\r\n", "5;=\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\0b\r\nhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n", "\t5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n", "0X5\r\nhello\r\n0\r\n\r\n", "5_\r\nhello\r\n0\r\n\r\n", "0_5\r\nhello\r\n0\r\n\r\n",
    "5.\r\nhello\r\n0\r\n\r\n", "5h\r\nhello\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n", ";a\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n",
    "6\r\nhello\r\n0\r\n\r\n", "4\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\n\n", "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n", "5\r\nhello\r\n0\r\nHost: b\r\n\r\n", "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX\r\n\r\n", "5\r\nhello\r\n0\r\n: y\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: \0\r\n\r\n", "5\r\nhello\r\n+0\r\n\r\n", "5\r\nhello\r\n0x0\r\n\r\n", "5\r\nhello\r\n-0\r\n\r\n",
    "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "80000000\r\nhello\r\n0\r\n\r\n", "8000000000000000\r\nhello\r\n0\r\n\r\n", "0000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
]
HOSTS = [
    "a", "A", "a.", "a.b", "a-b", "a_b", "a:80", "a:", "a:0", "a:65535", "a:65536", "a:080", "a:+80", "a:-1", "a:b", "a:80b", "a:1:2",
    ":80", "", " ", "a b", "a\tb", "a, b", "a,b", "a/", "a/b", "a?b", "a#b", "u@a", "u:p@a", "http://a", "a\\b", "a%41", "a%", "a%zz", "a%00",
    "a\0", "\xe9", "a\"", "<a>", "{a}", "a|b", "a;b", "a'b", "a!b", "a..b", ".a", ".", "-", "127.0.0.1", "127.0.0.1:80", "1.2.3.4.5",
    "::1", "[::1]", "[::1]:80", "[::1]:", "[::1", "::1]", "[]", "[]:80", "[a]", "[::1]a", "[::1]:a", "[1.2.3.4]", "[::ffff:1.2.3.4]",
    "[fe80::1%25lo]", "[v1.a]", "[[::1]]",
]
TARGETS = [
    "/@@", "/@@?", "/@@?a=b&a=b", "/@@?a?b", "/@@/../b", "/@@/./b", "/../@@", "//@@//b", "/@@/%2e%2e/b", "/@@%2fb", "/@@%00", "/@@%0d%0aX:y",
    "/@@%zz", "/@@%", "/@@%4", "/@@;a=b", "/@@:80/b", "/@@@b", "/@@+b", "/@@|b", "/@@{b}", "/@@[b]", "/@@\\b", "/@@^b", "/@@`b", "/@@\"b",
    "/@@<b>", "/@@#b", "/@@?a#b", "/@@\0", "/@@\x01", "/@@\x7f", "/@@\xc3\xa9", "/@@\xe9", "/@@\xc0\xaf", "/@@\tb", "/@@ b", "@@", "?@@", "*",
    "http://a/@@", "HTTP://A/@@", "http://a", "http://a?@@", "http://a/@@#b", "https://a/@@", "http://b/@@", "http://a:80/@@", "http://u@a/@@",
    "http:///@@", "http:/a/@@", "http:a/@@", "ftp://a/@@", "//a/@@", "a:80", "http://a\\@b/@@", "http://[::1]/@@", "/http://b/@@", "/@@/http://b",
]
VERSIONS = [
    "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.9", "HTTP/1", "HTTP/2", "HTTP/1.", "HTTP/.1",
    "HTTP/1.10", "HTTP/11.1", "HTTP/01.1", "HTTP/1.01", "HTTP/ 1.1", "HTTP /1.1", "HTTP/1.1 ", "HTTP/1.1\t", "HTTP/1.1 x", "http/1.1", "Http/1.1",
    "HTTP/1.1\r", "HTTP/1.1\0", "HTTP/1,1", "HTTP/-1.1", "HTTP/+1.1", "HTTP/a.b", "HTTPS/1.1", "ICY/1.1", "HTTP", "", "1.1", "HTTP/\xb9.1",
]
METHODS = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "QUERY", "FOO", "get", "Get", "M-SEARCH", "A_B", "A.B", "!#$%&'*+-.^_`|~",
    "G", "M" * 100, "GE(T", "GE,T", "GE\"T", "GE/T", "GE:T", "GE\0T", "G\xc9T", "", " GET", "\tGET", "TRACE", "CONNECT",
]
FIELDS = [
    "X: y", "X:y", "X:  y  ", "X:\ty", "X:", "X: ", "X : y", "X\t: y", "X", ": y", " X: y", "\tX: y", "X Y: z", "X(Y): z", "X\"Y: z", "X/Y: z",
    "X@Y: z", "X_Y: z", "X.Y: z", "!#$%&'*+-.^`|~: z", "X\0: y", "X\x01: y", "X\x7f: y", "X\xe9: y", "X: \0", "X: a\0b", "X: a\x01b", "X: a\x7fb",
    "X: a\x0bb", "X: a\x0cb", "X: \xe9", "X: a\tb", "X: a\rb", "X: a\nY: b", "X: a\r Y: b", "X: a\r\n b", "X: a\r\n\tb", "X: a\r\n ", "X: a\n b",
    "X: y\r", "X: y\r\r", "X: y\nX: z", "X: y\r\nX: z", "Cookie: a\r\nCookie: b", "Connection: X\r\nX: y", "Connection: close, X\r\nX: y",
    "Connection: Host", "Connection: \r\nX: y", "Connection: keep-alive\r\nKeep-Alive: timeout=5", "Proxy-Connection: close", "TE: trailers",
    "Trailer: X", "Max-Forwards: 0", "Expect: 100-continue", "Expect: 200-ok", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A",
    "Range: bytes=0-1", "Via: 1.1 b", "X-Forwarded-For: b", "Forwarded: for=b", "Content-Type: a/b\r\nContent-Type: c/d", "X: " + "y" * 7000, "Host: a", "Host: b",
]
WHOLE = {
    "empty lines in front": "\r\n\r\nGET /@@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bare LF in front": "\nGET /@@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bare CR in front": "\rGET /@@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space line before the fields": "GET /@@ HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
    "LF line ends": "GET /@@ HTTP/1.1\nHost: a\n\n",
    "LF after the request line": "GET /@@ HTTP/1.1\nHost: a\r\n\r\n",
    "LF after a field": "GET /@@ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "LF for the empty line": "GET /@@ HTTP/1.1\r\nHost: a\r\n\n",
    "CR line ends": "GET /@@ HTTP/1.1\rHost: a\r\r",
    "CR CR LF": "GET /@@ HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "two spaces after the method": "GET  /@@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces after the target": "GET /@@  HTTP/1.1\r\nHost: a\r\n\r\n",
    "tabs in the request line": "GET\t/@@\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "a vertical tab in the request line": "GET\x0b/@@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": "GET HTTP/1.1\r\nX: @@\r\nHost: a\r\n\r\n",
    "HTTP/0.9": "GET /@@\r\n", "HTTP/0.9 and an empty line": "GET /@@\r\n\r\n",
    "no Host": "GET /@@ HTTP/1.1\r\n\r\n", "no Host in HTTP/1.0": "GET /@@ HTTP/1.0\r\n\r\n",
    "two Hosts in HTTP/1.0": "GET /@@ HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "absolute form in HTTP/1.0": "GET http://a/@@ HTTP/1.0\r\n\r\n", "absolute form without Host": "GET http://a/@@ HTTP/1.1\r\n\r\n",
    "absolute form with an empty Host": "GET http://a/@@ HTTP/1.1\r\nHost:\r\n\r\n",
    "OPTIONS of everything": "OPTIONS * HTTP/1.1\r\nX: @@\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "chunks in HTTP/1.0": "POST /@@ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "HTTP/1.0 with a length": "POST /@@ HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0, and one after": "GET /@@ HTTP/1.0\r\nHost: a\r\n\r\n" + HIDDEN,
    "close, and one after": "GET /@@ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + HIDDEN,
    "three at once": "".join(f"GET /@@/{i} HTTP/1.1\r\nHost: a\r\n\r\n" for i in range(3)),
    "a POST without a length": "POST /@@ HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "a body of a refused target": "POST @@ HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n" + HIDDEN,
    "an empty line after a body": "POST /@@ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n" + HIDDEN,
    "a NUL after the head": "GET /@@ HTTP/1.1\r\nHost: a\r\n\r\n\0" + HIDDEN,
    **{f"a body of {m}": f"{m} /@@ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" for m in ("GET", "HEAD", "DELETE", "OPTIONS", "FOO")},
    **{f"chunks of {m}": f"{m} /@@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" for m in ("GET", "HEAD", "DELETE")},
}


def requests():
    """All of them: a list of names and bytes."""
    post = "POST /@@ HTTP/1.1\r\nHost: a\r\n"
    groups = {
        "length": [(v, f"{post}Content-Length: {v}\r\n\r\nhello{HIDDEN}") for v in LENGTHS],
        "coding": [(v, f"{post}Transfer-Encoding: {v}\r\n\r\n0\r\n\r\n{HIDDEN}") for v in CODINGS],
        "framing": [(v, f"{post}{v}\r\n0\r\n\r\n{HIDDEN}") for v in BOTH],
        "chunks": [(v, f"{post}Transfer-Encoding: chunked\r\n\r\n{v}{HIDDEN}") for v in CHUNKS],
        "host": [(v, f"GET /@@ HTTP/1.1\r\nHost: {v}\r\n\r\n") for v in HOSTS],
        "target": [(v, f"GET {v} HTTP/1.1\r\nHost: a\r\nX: @@\r\n\r\n") for v in TARGETS],
        "version": [(v, f"GET /@@ {v}\r\nHost: a\r\n\r\n") for v in VERSIONS],
        "method": [(v, f"{v} /@@ HTTP/1.1\r\nHost: a\r\n\r\n") for v in METHODS],
        "field": [(v, f"GET /@@ HTTP/1.1\r\nHost: a\r\n{v}\r\n\r\n") for v in FIELDS],
        "whole": list(WHOLE.items()),
    }
    return [(f"{group} {ascii(name)[1:-1][:60]}", text.encode("latin-1")) for group, rows in groups.items() for name, text in rows]
