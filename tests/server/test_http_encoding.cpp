// Compressed bodies, and paths from wrong base URLs.
#include "server/http/encoding.h"

#include <zlib.h>
#include <zstd.h>

#include <future>

#include "server/http/router.h"
#include "server/http_test.h"

namespace cachalot::server {
namespace {

using namespace std::chrono_literals;

// `window`: as zlib has it: 31 for gzip, 15 for zlib's format, -15 for bare data.
std::string deflated(const std::string& text, int window) {
    z_stream stream = {};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 32, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

// In two pieces, so that the size is not known when the frame begins and does not limit the window.
std::string zstd(const std::string& text, int window_log = 0) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    if (window_log) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    std::string out(ZSTD_compressBound(text.size()) + 64, '\0');
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    ZSTD_inBuffer from{text.data(), text.size(), 0};
    EXPECT_EQ(ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush), 0u);
    EXPECT_EQ(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end), 0u);
    out.resize(to.pos);
    ZSTD_freeCCtx(context);
    return out;
}

std::string decoded(std::string_view encoding, const std::string& body) {
    std::string out;
    auto decoder = make_body_decoder(encoding, body);
    for (bool more = true; more;) {
        const auto before = out.size();
        more = decoder->step(out);
        EXPECT_LE(out.size() - before, BodyDecoder::kStep);
    }
    return out;
}

struct Encoding {
    const char* name;
    std::string (*encode)(const std::string&);
};
const Encoding kEncodings[] = {
    {"gzip", [](const std::string& t) { return deflated(t, 31); }},
    {"X-GZIP", [](const std::string& t) { return deflated(t, 31); }},
    {"deflate", [](const std::string& t) { return deflated(t, 15); }},
    {"Deflate", [](const std::string& t) { return deflated(t, -15); }},
    {"zstd", [](const std::string& t) { return zstd(t); }},
};

std::string noise(std::size_t size) {
    std::string text;
    for (std::uint32_t x = 1; text.size() < size; x = x * 1664525 + 1013904223)
        text += static_cast<char>(x >> 24);
    return text;
}

TEST(BodyDecoder, DecodesWhatWasEncoded) {
    for (const auto& [name, encode] : kEncodings)
        for (const std::string& text :
             {std::string("{}"), noise(1), noise(700'000), std::string(3 << 20, 'x')})
            EXPECT_EQ(decoded(name, encode(text)), text) << name << " " << text.size();
    EXPECT_EQ(decoded("gzip", deflated("one ", 31) + deflated("two", 31)), "one two");
    EXPECT_EQ(decoded("zstd", zstd("one ") + zstd("two")), "one two");
    for (const char* name : {"gzip", "x-gzip", "deflate", "zstd", "ZSTD"})
        EXPECT_TRUE(can_decode(name)) << name;
    for (const char* name : {"br", "compress", "gzip, zstd", "", "identity"})
        EXPECT_FALSE(can_decode(name)) << name;
    EXPECT_TRUE(is_plain("") && is_plain("identity") && is_plain("Identity"));
    EXPECT_FALSE(is_plain("gzip"));
}

TEST(BodyDecoder, RefusesWhatIsDamagedCutOffOrFollowed) {
    for (const auto& [name, encode] : kEncodings) {
        const auto good = encode(noise(2000));
        for (std::size_t size = 0; size < good.size(); size += size < 40 ? 1 : 97)
            EXPECT_THROW(decoded(name, good.substr(0, size)), Error) << name << " " << size;
        EXPECT_THROW(decoded(name, good + "more"), Error) << name;
        EXPECT_THROW(decoded(name, "plain text"), Error) << name;
        for (std::size_t i = 0; i < good.size(); i += 13) {  // ends, whatever comes
            auto bad = good;
            bad[i] = static_cast<char>(bad[i] ^ 0x55);
            try {
                decoded(name, bad);
            } catch (const Error&) {
            }
        }
    }
    for (const int log : {24, 27}) {
        try {
            decoded("zstd", zstd(noise(100), log));
            ADD_FAILURE() << "a window of 2^" << log;
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find("window of more than 8 MiB"), std::string::npos)
                << error.what();
        }
    }
}

using EncodedBodies = test::HttpTest;

TEST_F(EncodedBodies, ReachTheEndpointDecoded) {
    start();
    for (const auto& [name, encode] : kEncodings) {
        auto r =
            ask(test::post("/echo", encode("{\"a\": 1}"), fmt::format("Content-Encoding: {}\r\n", name)));
        EXPECT_EQ(r.status, 200) << name;
        EXPECT_EQ(r.body, "{\"a\": 1}") << name;
    }
    EXPECT_EQ(ask(test::post("/echo", "x", "Content-Encoding: identity\r\n")).body, "x");
    EXPECT_EQ(ask(test::post("/echo", "", "Content-Encoding: gzip\r\n")).status, 200);
}

TEST_F(EncodedBodies, KeepToTheLimitsOfWhatTheyBecome) {
    options.limits.body = 1 << 20;
    options.limits.bodies = 3 << 20;
    const std::string fits(1 << 20, 'x'), too_large((1 << 20) + 1, 'x'), bomb(64 << 20, 'x');
    for (const char* name : {"gzip", "zstd"}) {
        const auto header = fmt::format("Content-Encoding: {}\r\n", name);
        const auto encode = name[0] == 'g' ? kEncodings[0].encode : kEncodings[4].encode;
        start();
        EXPECT_EQ(ask(test::post("/echo", encode(fits), header)).body.size(), fits.size());
        EXPECT_EQ(ask(test::post("/echo", encode(too_large), header)).status, 413);
        EXPECT_EQ(ask(test::post("/echo", encode(bomb), header)).status, 413);
        auto r = ask(test::post("/echo", "damaged", header));
        EXPECT_EQ(r.status, 400);
        EXPECT_NE(r.body.find(name), std::string::npos) << r.body;
        // What is decoded counts for all requests together. A new server, as what a request took is given
        // back a moment after its answer.
        start();
        test::Client first(server->port()), second(server->port()), third(server->port());
        for (auto* client : {&first, &second, &third})
            client->send(test::post("/wait", encode(fits), header));
        const auto a = mailbox.take(), b = mailbox.take(), c = mailbox.take();
        ASSERT_TRUE(a && b && c);
        EXPECT_EQ(ask(test::post("/echo", encode(fits), header)).status, 503);
        for (const auto& writer : {a, b, c}) writer->respond(200, "text/plain", "x");
        EXPECT_EQ(first.response().body, "x");
        EXPECT_EQ(second.response().body, "x");
        EXPECT_EQ(third.response().body, "x");
        EXPECT_TRUE(
            test::eventually([&] { return ask(test::post("/echo", encode(fits), header)).status == 200; }));
    }
}

// The network's threads only move bytes.
TEST_F(EncodedBodies, AreDecodedWhereBodiesAreRead) {
    options.request_threads = 1;
    start();
    std::promise<void> busy, free;
    auto all = routes();
    all.push_back({"POST", "/block", [&](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
                       busy.set_value();
                       free.get_future().wait();
                       writer->respond(200, "text/plain", "x");
                   }});
    server->set_routes(std::move(all));
    test::Client blocked(server->port()), damaged(server->port());
    blocked.send(test::post("/block", "x"));
    busy.get_future().wait();
    damaged.send(test::post("/echo", "damaged", "Content-Encoding: gzip\r\n"));
    EXPECT_EQ(ask(test::get("/hello")).body, "hello");
    EXPECT_FALSE(test::eventually(
        [&] {
            for (const auto& one : served())
                if (one.status == 400) return true;
            return false;
        },
        100ms));
    free.set_value();
    EXPECT_EQ(damaged.response().status, 400);
    EXPECT_EQ(blocked.response().status, 200);
}

TEST_F(EncodedBodies, OfOtherEncodingsAreRefusedByName) {
    start();
    for (const char* name : {"br", "compress", "gzip, zstd", "rot13"}) {
        auto r = ask(test::post("/echo", "x", fmt::format("Content-Encoding: {}\r\n", name)));
        EXPECT_EQ(r.status, 415);
        EXPECT_NE(r.body.find(name), std::string::npos) << r.body;
        EXPECT_EQ(r.headers["accept-encoding"], "gzip, deflate, zstd");
    }
}

TEST(Router, FindsWhatAWrongBaseUrlMeans) {
    std::vector<Route> routes;
    for (const char* path : {"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/models"})
        routes.push_back({"POST", path, {}});
    routes.push_back({"GET", "/v1/models/{id}", {}});
    routes.push_back({"GET", "/health", {}});
    const Router router(std::move(routes));
    const std::pair<const char*, const char*> found[] = {
        {"/v1/chat/completions", "/v1/chat/completions"},
        {"/chat/completions", "/v1/chat/completions"},
        {"/messages", "/v1/messages"},
        {"/v1/v1/messages", "/v1/messages"},
        {"/v1/v1/v1/messages", "/v1/messages"},
        {"/v1/chat/completions/", "/v1/chat/completions"},
        {"/v1//chat/completions", "/v1/chat/completions"},
        {"//v1/chat/completions", "/v1/chat/completions"},
        {"//chat//completions//", "/v1/chat/completions"},
        {"/api/v1/chat/completions", "/v1/chat/completions"},
        {"/v1/chat/completions/chat/completions", "/v1/chat/completions"},
        {"/v1/chat/completions/models", "/v1/models"},
        {"/v1/messages/v1/messages", "/v1/messages"},
        {"/v1/responses/responses", "/v1/responses"},
    };
    for (const auto& [path, meant] : found) {
        const auto match = router.find_repaired("POST", path);
        ASSERT_TRUE(match.route) << path;
        EXPECT_EQ(match.path, meant) << path;
    }
    // A path that means something is never repaired.
    EXPECT_EQ(router.find_repaired("GET", "/v1/models/a//b/").path, "/v1/models/a//b/");
    EXPECT_EQ(router.find_repaired("GET", "/v1/models/v1/x").path, "/v1/models/v1/x");
    for (const char* path : {"/", "//", "/v1", "/v1/", "/nothing", "/v1/nothing", "/v2/messages", "/v1/v1",
                             "/chat", "/v1/chat/completions/nothing", "/messagesv1/"}) {
        const auto match = router.find_repaired("POST", path);
        EXPECT_TRUE(match.allowed.empty() && !match.route) << path;
        EXPECT_EQ(match.path, path);
    }
    EXPECT_EQ(router.find_repaired("POST", "/health/").allowed, "GET, HEAD, OPTIONS");
}

TEST(Router, RepairsPathsThatOtherMethodsHave) {
    std::vector<Route> routes;
    for (const char* path :
         {"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/messages/count_tokens",
          "/v1/responses", "/v1/responses/compact", "/v1/responses/{id}/cancel"})
        routes.push_back({"POST", path, {}});
    for (const char* path : {"/v1/responses/{id}", "/v1/models", "/v1/models/{id}"})
        routes.push_back({"GET", path, {}});
    const Router router(std::move(routes));
    const std::pair<const char*, const char*> found[] = {
        {"/v1/responses/responses", "/v1/responses"},
        {"/v1/responses/chat/completions", "/v1/chat/completions"},
        {"/v1/responses/completions", "/v1/completions"},
        {"/v1/responses/messages/count_tokens", "/v1/messages/count_tokens"},
        {"/responses/responses", "/v1/responses"},
        {"/responses/chat/completions/", "/v1/chat/completions"},
        {"/v1/responses/compact", "/v1/responses/compact"},
        {"/v1/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"},
        {"/anthropic/messages", "/v1/messages"},
        {"/anthropic//messages/count_tokens", "/v1/messages/count_tokens"},
        {"/anthropic/v1/messages", "/v1/messages"},
        {"/api/anthropic/messages", "/v1/messages"},
        {"/openai/deployments/gpt-4/chat/completions", "/v1/chat/completions"},
    };
    for (const auto& [path, meant] : found) {
        const auto match = router.find_repaired("POST", path);
        ASSERT_TRUE(match.route) << path;
        EXPECT_EQ(match.path, meant) << path;
    }
    EXPECT_EQ(router.find_repaired("GET", "/anthropic/models/x").path, "/v1/models/x");
    EXPECT_EQ(router.find_repaired("GET", "/v1/responses/responses").path, "/v1/responses/responses");
    // Nothing takes the method: the path is said to have others.
    EXPECT_EQ(router.find_repaired("POST", "/v1/responses/resp_1").allowed, "GET, HEAD, OPTIONS");
    EXPECT_EQ(router.find_repaired("POST", "/v1/models/m").allowed, "GET, HEAD, OPTIONS");
    for (const char* path : {"/v2/messages", "/anthropic/v2/messages", "/anthropic/nothing", "/anthropic"}) {
        const auto match = router.find_repaired("POST", path);
        EXPECT_TRUE(match.allowed.empty() && !match.route) << path;
    }
    std::string long_path;
    for (int i = 0; i < 30000; ++i) long_path += "/a";
    EXPECT_TRUE(router.find_repaired("POST", long_path + "/messages").allowed.empty());
}

class BaseUrls : public test::HttpTest {};

TEST_F(BaseUrls, LeadToTheEndpointOrAreNamed) {
    start();
    EXPECT_EQ(ask(test::post("/messages", "x")).body, "message");
    EXPECT_EQ(ask(test::post("/v1/v1/messages", "x")).body, "message");
    EXPECT_EQ(ask(test::get("/models/x?y=1")).body, "/models/x|y=1");
    EXPECT_EQ(ask(test::get("//models/x/?y=1")).body, "/models/x|y=1");
    auto r = ask(test::get("/chatt/completions"));
    EXPECT_EQ(r.status, 404);
    EXPECT_NE(r.body.find("'/chatt/completions'"), std::string::npos) << r.body;
    EXPECT_NE(r.body.find("/v1"), std::string::npos);
}

}  // namespace
}  // namespace cachalot::server
