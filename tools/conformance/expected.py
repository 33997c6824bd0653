"""Differences that are meant: what differs, why, and where (patterns of names, `?` for what a pattern cannot say).

`looser`: auth-proxy passes on what all others refuse. `stricter`: it refuses what all others pass on alike. `other`: its
upstream sees something else than any other's.
"""

EXPECTED = [
    ("stricter", "RFC 9112 section 2.2 lets a recipient take a bare LF for a line end; who does not is fooled by who does", [
        "chunks 5;?nhello*", "chunks 5?nhello*", "chunks 5?r?nhello?n0*", "chunks 5?r?nhello?r?n0?n?n", "chunks 5?r?nhello?r?n0?r?n?n",
        "chunks 5?r?nhello?r?n0?n?r?n", "chunks 5?r?nhello?r?n0?r?nX: y?nZ*", "field X: a?nY: b", "field X: y?nX: z",
        "whole a bare LF in front", "whole LF *",
    ]),
    ("stricter", "white space after a chunk's size: in no grammar, and on the way to disagreement", ["chunks 5 ?r*", "chunks 5?t?r*"]),
    ("stricter", "a control character in a chunk extension or in a field value: RFC 9110 section 5.5 allows no such byte", [
        "chunks 5;a?x00b*", "field X: a?x01b", "field X: a?x7fb", "field X: a?x0bb", "field X: a?x0cb",
        "chunks 5?r?nhello?r?n0?r?nX: ?x00*",
    ]),
    ("stricter", "white space before a trailer's colon: RFC 9112 section 5.1", ["chunks 5?r?nhello?r?n0?r?nX : y*"]),
    ("stricter", "a folded trailer: RFC 9112 section 5.2 forbids to send it", ["chunks 5?r?nhello?r?n0?r?nX: y?r?n z*"]),
    ("stricter", "a chunk's CR taken for data, so that LF alone ends it", ["chunks 6?r?nhello*"]),
    ("stricter", "a chunk's size of more than 16 digits: nobody sends so many zeros", ["chunks 0000000000000000000000000000005*"]),
    ("stricter", "RFC 9112 section 3.2: a Host that is no authority deserves 400", [
        *(f"host {host}" for host in (
            "a:65536", "a:+80", "a:-1", "a:b", "a:80b", "a:1:2", "a,b", "a?b", "a#b", "u@a", "u:p@a", r"a\\b", "a%", "a%zz", r"\xe9", 'a"', "<a>", "{a}", "a|b",
            "[::1", "[]", "[]:80", "[a]", "[::1]a", "[::1]:a", "[1.2.3.4]", "[fe80::1%25lo]", "[v1.a]", "[[::1]]",
        )),
    ]),
    ("stricter", "on the loopback a client names this machine or what is in ALLOWED_HOSTS, which takes no such names", [
        "host a%41", "host a%00", "host 1.2.3.4.5",
    ]),
    ("stricter", "RFC 9112 section 3: one space between the parts of a request line", ["whole two spaces after *"]),
    ("stricter", "there is no HTTP/1.2", ["version HTTP/1.2", "version HTTP/1.9"]),
    ("other", "servers that take an underscore for a hyphen would read another framing: such fields go no further", [
        "framing Transfer_Encoding: *", "framing Content_Length: *",
    ]),
    ("other", "RFC 9110 section 7.6.1: what Connection names goes no further", ["field Connection: X*", "field Connection: close, X*"]),
]
