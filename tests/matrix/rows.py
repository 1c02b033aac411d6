"""The fault matrix as data: what goes wrong, and what must come of it, row by row; and the rows that no test shows yet.

The wording is the promise. Tests name rows by id with `@pytest.mark.fault("F01")`; `table.py` puts both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NEXT = """\
"next": the caller gets the next provider's answer (201), `x-opengateway-attempts` is one more, and `Server-Timing`
names what came of the first. Alone in the sequence: 502; 504 if every attempt ran out of time; 429 if every one was
rate limited; each with the attempts in the envelope."""

STANDING = """\
Checked after every row: within 100 ms after the outcome the gateway has ended its work, and its sockets to the row's
providers are closed (but for connections that it may keep for the next request, which `aclose()` closes); tasks,
limiter slots and breaker permits are as before; no planted key, raw, in base64 or in a `repr`, is in any answer, log
record at DEBUG, event, or request to somebody else; no provider's URL is in any answer; nothing was "never retrieved",
unraisable, or left to the loop's exception handler."""


@dataclass(frozen=True, slots=True)
class Row:
    """Either `deferred` says why no test shows the row, or at least one test does."""

    fault: str
    outcome: str
    deferred: str | None = None


ROWS: Mapping[str, Row] = {
    # --- before a provider has read the request -------------------------------------------------------------
    "F01": Row("port closed", "next, at most 5 ms lost; after five in a row the others are asked first"),
    "F02": Row("SYN black hole (full queue)", "next at the connect limit, not at that of the first chunk"),
    "F03": Row("NXDOMAIN, SERVFAIL, no address", "next, `dns`"),
    "F04": Row("resolver hangs", "next at the connect limit; the host's own threaded endpoints still answer"),
    "F05": Row("two addresses, the first one dead", "the same attempt succeeds on the second, 250 ms later"),
    "F06": Row(
        "TLS certificate expired, for another name, self-signed",
        "next, told as a misconfiguration; nothing but a handshake was sent",
    ),
    "F07": Row("TLS handshake stalls", "next at the connect limit"),
    "F08": Row("accepted, then RST before a byte, on a fresh connection", "next; nothing is sent again"),
    "F09": Row(
        "reused connection that the peer has closed, no byte back",
        "sent once more to the same target, silently; one attempt",
    ),
    "F10": Row("target's limiter full", "next after the bounded wait; all full: 503 `gateway_overloaded`, retry-after"),
    # --- silence --------------------------------------------------------------------------------------------
    "F11": Row(
        "accepts, never answers",
        "next at the first-chunk limit, within 50 ms; after five nobody waits for it; a slow but healthy model never "
        "trips (what counts as late: tests/rules/test_circuit.py)",
    ),
    "F12": Row("head, then silence", "as F11"),
    "F13": Row("comments only", "as F11; at most 4 KiB held"),
    "F14": Row("JSON body byte by byte", "ends at the limit of a plain answer, whatever each read takes"),
    "F15": Row("100/103 without end", "next at the limit; under 20 % of a core"),
    "F16": Row("one 103, then good", "201, one attempt"),
    # --- refusals -------------------------------------------------------------------------------------------
    "F17": Row("500, 502, 504, 520, 598, unknown 5xx; 503, 529", "next; the last two cool down"),
    "F18": Row(
        "429 with Retry-After 2, 0.5, in ms, HTTP-date, 86400, -1, NaN, `soon`",
        "next; cools down for 1..300 s or the default; all limited: 429 with the soonest",
    ),
    "F19": Row("429 insufficient_quota, 402", "next, told as a misconfiguration; long cooldown, one probe"),
    "F20": Row(
        "401/403/404 of our key; of the caller's vLLM key",
        "next, told as a misconfiguration; the caller's 401 and no further attempt",
    ),
    "F21": Row("400/422 that is the caller's fault", "400, one attempt, breaker unmoved"),
    "F22": Row("400, empty or HTML", "next"),
    "F23": Row(
        "301/302/307/308 to a metadata address, to a canary",
        "next, told as a misconfiguration; the canary sees no connection",
    ),
    # --- answers that are none ------------------------------------------------------------------------------
    "F24": Row("200 with HTML, `{}`, no choices, an `error` key, truncated JSON", "next"),
    "F25": Row("200 SSE whose first event is an error", "next"),
    "F26": Row("JSON for a stream, SSE for a plain call", "next"),
    "F27": Row("200 empty, 204, 101, 099, 600, 999", "next, on every engine"),
    "F28": Row(
        "conflicting, signed, negative, 20-digit lengths; CL and TE; TE xchunked; bad chunk sizes and terminators; "
        "an interim response with a body; HTTP/0.9; NUL or bare CR in a header",
        "next; CL and TE, or the same CL twice, may be read as good; never both relayed, connection not reused",
    ),
    "F29": Row(
        "endless header line, header list, reason phrase, chunk extension, chunk size, trailers",
        "next in under 1 s; at most 256 KiB held",
    ),
    "F30": Row("gzip/deflate/br/zstd bomb 1:1000 though identity was asked for", "next; not unpacked: at most 1 MiB"),
    "F31": Row("unknown or corrupt content-encoding", "next"),
    "F32": Row("SSE line without end", "before the first chunk: next; after it: F40; at most 2 MiB held"),
    "F33": Row("10^5 `data:` lines without a blank line", "as F32: lines count, too"),
    "F34": Row(
        "1-byte segments, CR/LF/CRLF, BOM, split UTF-8 and chunk heads",
        "201; payload byte for byte, framing LF LF",
    ),
    "F35": Row(
        "answer nested 10^5 deep, of 3 x 10^6 brackets, 5,000-digit number, NaN, lone surrogate",
        "next, and no exception escapes; half a surrogate pair in an escape of a stream is relayed as it is",
    ),
    "F36": Row(
        "early 413 and close while 8 MiB are uploaded", "the caller's 413 if its head was readable, else next; no hang"
    ),
    "F37": Row("never reads our body", "next at the limit, with the whole body"),
    "F38": Row(
        "flaps with each request, and in phases",
        "every caller is served; the open time grows to its cap; it comes back",
    ),
    "F39": Row(
        "answers correctly, but after it was cancelled as a loser", "discarded; one answer only; breaker unmoved"
    ),
    # --- after the first chunk ------------------------------------------------------------------------------
    "F40": Row(
        "RST in mid-event",
        "what came before it byte for byte, an error event at a boundary, no `[DONE]`, body unterminated, nobody asked "
        "again",
    ),
    "F41": Row(
        "FIN without finish_reason and `[DONE]` (chunked, short of its length, close-delimited)",
        "as F40; a plain answer that is cut: next",
    ),
    "F42": Row("FIN after the finish_reason, no `[DONE]`", "complete, `[DONE]` added"),
    "F43": Row("silence beyond the idle limit, with and without comments", "as F40, `idle`"),
    "F44": Row("error event, then `[DONE]`", "error shown, `[DONE]` withheld, unterminated"),
    "F45": Row("invalid UTF-8, half JSON in an event", "as F40"),
    "F46": Row("endless tokens", "cut at 1 h or 256 MiB, as F40"),
    "F47": Row("bytes after the end; a second response in the same segment", "ignored; the next request gets its own"),
    "F48": Row("n=2, one choice finished, FIN", "as F40"),
    "F49": Row("fast source, caller reads slowly", "back-pressure: at most 256 KiB held, source slowed"),
    # --- callers --------------------------------------------------------------------------------------------
    "F50": Row(
        "caller FIN: before the head, in the upload, before the first chunk, in the stream, between attempts",
        "provider closed within 100 ms; no further attempt; breaker unmoved; permit given back",
    ),
    "F51": Row("caller RST, same points", "as F50"),
    "F52": Row("caller half-closes", "as F50 (servers say that it left)"),
    "F53": Row("caller reads nothing", "both sides closed at the send limit"),
    "F54": Row("caller uploads 1 byte/s", "408 `body_timeout`, no attempt, connection: close"),
    "F55": Row(
        "Content-Length over the limit; chunked over the limit; both with a wrong token",
        "413 before / at the limit; 401 first, body unread",
    ),
    "F56": Row("body shorter than announced, FIN", "no attempt, no 500 in the log"),
    "F57": Row(
        "not JSON, UTF-16/32, BOM, bad UTF-8, `ED A0 80`, NaN, Infinity, 1e999, depth 129..10^6, 5,000-digit number, "
        "`model` twice, trailing bytes, NUL",
        "400, no attempt",
    ),
    "F58": Row("8 MiB of `[],`, 10^6 keys, 10^5 messages", "400; the loop stalls at most 100 ms"),
    "F59": Row(
        "`x-opengateway-*` sent twice, with CR/LF/NUL/latin-1, odd numbers, 17 names, nested JSON, 64 KiB",
        "400 names the header, never echoes a key",
    ),
    "F60": Row(
        "requests that try to be two (CL.TE, TE.CL, TE.TE, CL.0, chunk sizes and extensions, trailers, line ends, "
        "targets, versions, pipelines, upgrades), and values that try to be lines, raw to uvicorn with h11 and with "
        "httptools, granian and hypercorn",
        "the provider gets the honest requests or none, byte for byte as a good caller's; no 500, no hang (what each "
        "server says: docs/servers.md)",
    ),
    "F61": Row(
        "token absent, malformed, wrong, near-miss, revoked",
        "401 whatever was asked for, equal bodies, body unread, WWW-Authenticate",
    ),
    "F62": Row(
        "10^4 calls with a limit of 1 ms by one caller", "that caller's 504s alone; shared breakers stay closed"
    ),
    "F63": Row("one name 16 times, all fail", "at most 5 attempts"),
    "F64": Row(
        "context length exceeded at the first target",
        "next, the same target not again, breaker unmoved; all say so: the first such 400",
    ),
    "F65": Row(
        "`[a, a, b]`: 429 with retry-after 2 once / always, 500 once, 503 always, RST once, silence, 401",
        "repeated after 2 s; b after it; repeated after 250-500 ms; b after two; repeated; b at once for the last two",
    ),
    "F66": Row(
        "`continue`: RST, FIN, silence, half JSON, error event after k text chunks, every k; the next target takes "
        "prefill",
        "one valid stream: same `id`, one role chunk, text equal to the uncut one, one `[DONE]`",
    ),
    "F67": Row(
        "as F66, the next target refuses prefill (400), or answers from the start",
        "asked afresh; delivered from where the delivered text was repeated exactly; a different text: F40; the 400 is "
        "never the caller's last word",
    ),
    "F68": Row(
        "`continue`, cut behind a blank or a newline, at every k; the next target gives them back, or goes on behind "
        "them",
        "no blank lost or doubled",
    ),
    "F69": Row(
        "role-only and empty deltas for ever; role, then an error event; 65 empty events, then content",
        "next at the limit; next, the caller sees nothing; committed at 64",
    ),
    "F70": Row(
        "heartbeat on: silent first target, then good; every target fails; a data event in each gap",
        "comments, then the answer; error event and unterminated; comments between the events; our own limits unmoved",
    ),
    "F71": Row(
        "`hold`: RST, FIN, stall, half JSON after k events, tool-call deltas",
        "next; the answer whole, byte for byte one provider's stream",
    ),
    "F72": Row(
        "caller's limit 6 s, three targets, the first two silent", "each gets a share; the third answers in time"
    ),
    "F73": Row("30 callers drop 5 MiB streams at once", "the loop lags at most 50 ms"),
    # --- egress ---------------------------------------------------------------------------------------------
    "E01": Row("200 evil URLs", "400, or 403 for those that are well written; no look-up, no connection"),
    "E02": Row("resolver flips between calls", "one look-up, one connection, to the address that was checked"),
    "E03": Row(
        "mixed answers; 64 answers; denied again and again",
        "403, the same as for a name that is not listed; 16 are looked at; 429 after ten a minute",
    ),
    "E04": Row(
        "each address that is never allowed, bare and wrapped, behind allowed names and networks", "403, no connection"
    ),
    "E05": Row("proxy variables, .netrc", "no connection to the proxy, no password sent"),
    "E06": Row("caller's endpoint with and without a key among others", "each key at its own origin alone"),
    "E07": Row("certificate for another name; https entry asked as http", "next, nothing but a handshake sent; 403"),
    "E08": Row("two callers, same endpoint", "two connections, each with its own key"),
    "E09": Row(
        "the endpoint is the gateway itself, directly or through a second one; so is a configured provider",
        "508 `loop_detected`, nobody else asked, not to be repeated; three gateways in a row are no loop, four are",
    ),
    "E10": Row("10^5 distinct endpoints", "at most 1,000 entries of each kind are kept"),
    # --- the process ----------------------------------------------------------------------------------------
    "P01": Row(
        "SIGTERM with live streams, with grace enough and too short",
        "all complete; those that are cut end unterminated, providers closed, the exit code is the server's own",
    ),
    "P02": Row("kill -9 of one of two workers in mid-stream", "the other unhurt; the provider sees the close"),
    "P03": Row("worker dies holding the half-open lease", "the lease runs out, the next worker probes"),
    "P04": Row(
        "Redis refused, stopped, slow, failing, full, a replica, without its scripts, no Redis at all",
        "all answered, hardly later: one asks every 5 s, and one line in the log for each change",
    ),
    "P05": Row("wall clock, here or of Redis, goes forward or back by 1 h", "no breaker, cooldown or lease changes"),
    "P06": Row("file descriptors used up", "503 or next; the process lives and recovers within 1 s"),
    "P07": Row("the host blocks the loop for 500 ms", "no false timeout when data already waits"),
    "P08": Row("every breaker open", "exactly one attempt, further ones by budget alone"),
    "P09": Row(
        "in-flight limit passed: the gateway's, one principal's",
        "503 `gateway_overloaded` within 10 ms, 429 `principal_overloaded`; retry-after, body unread; room at its end",
    ),
    "P10": Row(
        "authenticate raises, hangs or names no principal; a sink raises",
        "503, fails closed, in time; sinks never touch the request",
    ),
    "P11": Row("opened lazily, opening cancelled, reopened, two gateways, two loops in turn", "works; nothing shared"),
}
