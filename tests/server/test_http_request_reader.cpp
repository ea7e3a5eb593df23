#include "server/http/request_reader.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace cachalot::server {
namespace {

struct Outcome {
    Refusal refusal;
    HttpRequest request;
    bool complete = false;
    std::string rest;
    bool operator==(const Outcome& other) const {
        return refusal.status == other.refusal.status && request.method == other.request.method &&
               request.path == other.request.path && request.headers == other.request.headers &&
               request.body == other.request.body && complete == other.complete && rest == other.rest;
    }
};

// Feeds `bytes` in pieces of the given sizes, over and over.
Outcome read(std::string_view bytes, const std::vector<std::size_t>& pieces, const HttpLimits& limits = {}) {
    Outcome outcome;
    RequestReader reader(limits);
    std::string input;
    bool header = false;
    for (std::size_t i = 0; !bytes.empty() && !reader.done(); ++i) {
        const std::size_t size = std::min(bytes.size(), pieces[i % pieces.size()]);
        input += bytes.substr(0, size);
        bytes.remove_prefix(size);
        if (!reader.feed(input, outcome.refusal)) return outcome;
        if (reader.header_done() && !header) {
            header = true;
            if (!reader.take_header(outcome.request, outcome.refusal)) return outcome;
            reader.begin_body();
            if (!reader.feed(input, outcome.refusal)) return outcome;
        }
    }
    outcome.complete = reader.done();
    if (outcome.complete) outcome.request.body = reader.take_body();
    outcome.rest = input + std::string(bytes);
    return outcome;
}

TEST(RequestReader, ReadsOneRequestAndLeavesTheNext) {
    auto plain = read("POST /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /", {1000});
    EXPECT_EQ(plain.refusal.status, 0);
    EXPECT_TRUE(plain.complete);
    EXPECT_EQ(plain.request.method, "POST");
    EXPECT_EQ(plain.request.path, "/a b");
    EXPECT_EQ(plain.request.query, "x=1");
    EXPECT_EQ(plain.request.header("host"), "h");
    EXPECT_EQ(plain.request.body, "abc");
    EXPECT_EQ(plain.rest, "GET /");
}

TEST(RequestReader, RefusesWhatIsAmbiguousOrTooLarge) {
    auto status = [](std::string head, HttpLimits limits = {}) {
        return read(head + "\r\n\r\n", {1000}, limits).refusal.status;
    };
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a"), 0);
    EXPECT_EQ(status("GET / HTTP/1.1"), 400);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b"), 400);
    EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"), 400);
    EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip"), 501);
    EXPECT_EQ(status("GET http://a/ HTTP/1.1\r\nHost: a"), 400);
    EXPECT_EQ(status("GET / HTTP/3.0\r\nHost: a"), 505);
    HttpLimits small;
    small.request_line = 10;
    small.header_count = 2;
    EXPECT_EQ(status("GET /a-long-path HTTP/1.1\r\nHost: a", small), 414);
    EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2", small), 431);
}

RC_GTEST_PROP(RequestReader, PiecesDoNotMatter, ()) {
    static const std::vector<std::string> kRequests = {
        "GET /health HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nhello world!tail",
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n "
        "world!\r\n0\r\n"
        "Trailer: 1\r\n\r\nGET",
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    const std::string bytes = *rc::gen::elementOf(kRequests);
    const auto pieces = *rc::gen::nonEmpty<std::vector<std::size_t>>(
        rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(1, 20)));
    const Outcome whole = read(bytes, {bytes.size()});
    const Outcome split = read(bytes, pieces);
    RC_ASSERT(split.refusal.status == whole.refusal.status);
    if (whole.refusal.status == 0) RC_ASSERT(split == whole);
}

}  // namespace
}  // namespace cachalot::server
