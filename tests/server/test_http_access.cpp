// Who may ask, how much, and TLS.
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "server/http_test.h"

namespace cachalot::server::test {
namespace {

class HttpAccess : public HttpTest {};

// ---- who may ask ----

TEST_F(HttpAccess, HostsAreCheckedFirst) {
    options.keys.add("secret");
    options.allowed_hosts = {"box.lan"};
    start();
    auto status = [&](std::string host, std::string more = {}) {
        return ask(fmt::format("GET /open HTTP/1.1\r\nHost: {}\r\n{}\r\n", host, more)).status;
    };
    for (const char* good :
         {"localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:99", "box.lan", "Box.Lan.:8080"})
        EXPECT_EQ(status(good), 200) << good;
    for (const char* bad : {"evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "box.lan@evil",
                            "192.168.1.7", "[::1", "localhost:http", ""})
        EXPECT_EQ(status(bad), 403) << bad;
    EXPECT_EQ(status("evil.example", "x-api-key: secret\r\n"), 403);
    EXPECT_EQ(ask("GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);  // not 401
    EXPECT_EQ(ask("OPTIONS /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403);
    EXPECT_EQ(ask("GET /open HTTP/1.1\r\n\r\n").status, 400);
    EXPECT_EQ(ask("GET /open HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n").status, 400);
}

TEST_F(HttpAccess, KeysInBothHeaders) {
    options.keys.add("alice=sk-alice");
    options.keys.add("sk-two");
    start();
    auto with = [&](std::string header) { return ask(post("/echo", "x", header)); };
    EXPECT_EQ(with("Authorization: Bearer sk-alice\r\n").headers["x-tenant"], "alice");
    EXPECT_EQ(with("authorization: bearer  sk-alice \r\n").headers["x-tenant"], "alice");
    EXPECT_EQ(with("x-api-key: sk-two\r\n").headers["x-tenant"], "key-2");
    EXPECT_EQ(with("x-api-key: sk-two\r\nAuthorization: Bearer wrong\r\n").status, 200);
    for (const char* bad : {"", "x-api-key: \r\n", "x-api-key: sk-tw\r\n", "x-api-key: sk-two2\r\n",
                            "Authorization: sk-two\r\n", "Authorization: Basic sk-two\r\n",
                            "x-api-key: alice=sk-alice\r\n", "x-api-key: alice\r\n"}) {
        auto r = with(bad);
        EXPECT_EQ(r.status, 401) << bad;
        EXPECT_NE(r.body.find(R"("type":"authentication_error","param":null,"code":"invalid_api_key")"),
                  std::string::npos);
        EXPECT_EQ(r.body.find("sk-"), std::string::npos);
    }
    auto anthropic = ask(post("/v1/messages?beta=true", "x"));
    EXPECT_EQ(anthropic.status, 401);
    EXPECT_TRUE(anthropic.body.starts_with(R"({"type":"error","error":{"type":"authentication_error",)"));
    EXPECT_EQ(ask(get("/nothing")).status, 401);  // what exists is no stranger's business
    EXPECT_EQ(ask(get("/open")).status, 200);
    // A body of any size that nobody was allowed to send is not waited for.
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\nabc").status,
              401);
    ASSERT_TRUE(eventually([&] { return served().size() == 16; }));
    EXPECT_EQ(served()[0].key_name, "alice");
    EXPECT_EQ(served()[0].annotation.completion_tokens, 7);
}

TEST_F(HttpAccess, EveryAnswerHasAnIdOfOurs) {
    start();
    std::set<std::string> ids;
    for (const auto& request : {get("/hello", "x-request-id: mine\r\nrequest-id: mine\r\n"), get("/nothing"),
                                get("/bug"), std::string("GET\r\n\r\n")}) {
        auto r = ask(request);
        EXPECT_TRUE(r.headers["request-id"].starts_with("req_")) << r.status;
        EXPECT_EQ(r.headers["x-request-id"], r.headers["request-id"]);
        ids.insert(r.headers["request-id"]);
    }
    EXPECT_EQ(ids.size(), 4u);
    ASSERT_TRUE(eventually([&] { return served().size() == 4; }));
    for (const auto& one : served()) EXPECT_TRUE(ids.count(one.id)) << one.path;
}

TEST_F(HttpAccess, CorsIsOffUnlessAskedFor) {
    start();
    auto preflight =
        "OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\n"
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n";
    auto from = [](std::string origin) { return post("/echo", "x", "Origin: " + origin + "\r\n"); };
    EXPECT_FALSE(ask(preflight).headers.count("access-control-allow-origin"));
    EXPECT_EQ(ask(from("https://a.example")).status, 403);  // a page could keep the model busy otherwise
    EXPECT_EQ(ask(from("null")).status, 403);
    EXPECT_EQ(ask(from("http://localhost")).status, 200);  // our own pages
    EXPECT_EQ(
        ask(get("/hello", "Origin: https://a.example\r\n")).headers.count("access-control-allow-origin"), 0u);

    options.cors.allow("https://a.example/");
    options.keys.add("k");
    start();
    auto r = ask(preflight);
    EXPECT_EQ(r.status, 204);
    EXPECT_EQ(r.headers["access-control-allow-origin"], "https://a.example");
    EXPECT_EQ(r.headers["access-control-allow-methods"], "POST, OPTIONS");
    EXPECT_EQ(r.headers["access-control-allow-headers"], "authorization");
    EXPECT_EQ(r.headers["vary"], "Origin");
    EXPECT_FALSE(r.headers.count("access-control-allow-credentials"));
    r = ask(from("https://a.example"));
    EXPECT_EQ(r.status, 401);  // readable for the page, so that it can say why
    EXPECT_EQ(r.headers["access-control-allow-origin"], "https://a.example");
    EXPECT_EQ(ask(from("https://b.example")).status, 403);
}

TEST_F(HttpAccess, DoesNotListenBeyondLoopbackWithoutAKey) {
    options.host = "0.0.0.0";
    EXPECT_THROW(start(), Error);
    options.insecure = true;
    start();
    EXPECT_EQ(ask(get("/hello")).status, 200);
    options.insecure = false;
    options.keys.add("k");
    start();
    EXPECT_EQ(ask(get("/hello")).status, 401);
    options.host = "no.such.host.invalid";
    EXPECT_THROW(start(), Error);
}

TEST_F(HttpAccess, APortThatIsTakenIsAnError) {
    auto port = start();
    options.port = port;
    HttpServer second(options, {});
    EXPECT_THROW(second.start(), Error);
}

// ---- limits ----

TEST_F(HttpAccess, LimitsOnSizes) {
    options.limits.body = 1000;
    start();
    EXPECT_EQ(ask(post("/echo", std::string(1000, 'x'))).status, 200);
    EXPECT_EQ(ask(post("/echo", std::string(1001, 'x'))).status, 413);
    EXPECT_EQ(ask(post("/v1/messages", std::string(1001, 'x'))).body.find(R"({"type":"error")"), 0u);
    std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 3; ++i) chunked += "190\r\n" + std::string(400, 'x') + "\r\n";
    EXPECT_EQ(ask(chunked).status, 413);
    EXPECT_EQ(ask(get("/" + std::string(8192, 'a'))).status, 414);
    EXPECT_EQ(ask(get("/" + std::string(100'000, 'a'))).status, 414);
    EXPECT_EQ(ask(get("/hello", "X: " + std::string(40'000, 'a') + "\r\n")).status, 431);
    std::string many;
    for (int i = 0; i < 200; ++i) many += fmt::format("h{}: x\r\n", i);
    EXPECT_EQ(ask(get("/hello", many)).status, 431);
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

TEST_F(HttpAccess, LimitsOnTime) {
    options.limits.header_time = 150ms;
    options.limits.body_time = 150ms;
    options.limits.idle_time = 150ms;
    start();
    auto begin = Clock::now();
    Client silent(server->port()), header(server->port()), body(server->port()), drip(server->port()),
        idle(server->port());
    header.send("GET /hello HTTP/1.1\r\nHos");
    body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
    idle.send(get("/hello"));
    EXPECT_EQ(idle.response().status, 200);
    drip.send("GET /hello HTTP/1.1\r\nX: ");
    for (int i = 0; i < 40 && drip.send("x"); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(drip.response().status, 408);
    EXPECT_EQ(header.response().status, 408);
    EXPECT_EQ(body.response().status, 408);
    EXPECT_TRUE(silent.at_end());
    EXPECT_TRUE(idle.at_end());
    EXPECT_LT(Clock::now() - begin, 5s);
    EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(HttpAccess, AThousandConnectionsBeyondTheLimitAreRefused) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);  // each connection takes one on either side
    setrlimit(RLIMIT_NOFILE, &files);
    options.limits.connections = 4;
    start();
    std::vector<Client> held;
    for (int i = 0; i < 4; ++i) {
        held.emplace_back(server->port());
        held.back().send(get("/hello"));
        EXPECT_EQ(held.back().response().status, 200);
    }
    std::vector<Client> more;
    for (int i = 0; i < 1000; ++i) {
        more.emplace_back(server->port());
        ASSERT_TRUE(more.back().connected());
        more.back().send(get("/hello"));
    }
    for (auto& client : more) {
        auto r = client.response();
        EXPECT_EQ(r.status, 503);
        EXPECT_EQ(r.headers["retry-after"], "1");
        EXPECT_TRUE(r.complete);
        client.close();
    }
    held[0].send(get("/hello"));
    EXPECT_EQ(held[0].response().status, 200);
    held.clear();
    EXPECT_TRUE(eventually([&] { return ask(get("/hello")).status == 200; }));
}

TEST_F(HttpAccess, TheMemoryOfAllBodiesIsBounded) {
    options.limits.bodies = 1500;
    start();
    Client first(server->port());
    first.send(post("/wait", std::string(1000, 'x')));
    auto writer = mailbox.take();
    auto refused = ask(post("/echo", std::string(1000, 'x')));
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.headers["retry-after"], "1");
    EXPECT_EQ(ask(post("/echo", std::string(500, 'x'))).status, 200);
    writer->respond(200, "text/plain", "x");
    EXPECT_EQ(first.response().status, 200);
    // Given back when the answers have left, of which the clients know a moment earlier.
    EXPECT_TRUE(eventually([&] { return ask(post("/echo", std::string(1500, 'x'))).status == 200; }));
    {
        Client leaves(server->port());  // in the middle of its body
        leaves.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1500\r\n\r\n" +
                    std::string(1400, 'x'));
    }
    EXPECT_TRUE(eventually([&] { return ask(post("/echo", std::string(1500, 'x'))).status == 200; }));
}

// ---- TLS ----

TEST_F(HttpAccess, TlsNeedsGoodFiles) {
    options.tls_cert = "/does/not/exist.pem";
    options.tls_key = "/does/not/exist.key";
    EXPECT_THROW(start(), Error);
    options.tls_key.clear();
    EXPECT_THROW(start(), Error);
}

// OpenSSL would look for the first line of a certificate without end.
TEST_F(HttpAccess, TlsOfADeviceIsRefused) {
    options.tls_cert = options.tls_key = "/dev/zero";
    EXPECT_THROW(start(), Error);
}

TEST_F(HttpAccess, ServesTls) {
    auto folder = std::filesystem::temp_directory_path() / fmt::format("cachalot-tls-{}", getpid());
    std::filesystem::create_directories(folder);
    options.tls_cert = folder / "cert.pem";
    options.tls_key = folder / "key.pem";
    auto command = fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=localhost "
        "-keyout {} -out {} 2>/dev/null",
        options.tls_key, options.tls_cert);
    if (std::system(command.c_str()) != 0 || std::system("curl --version >/dev/null 2>&1") != 0)
        GTEST_SKIP() << "needs the programs openssl and curl";
    try {
        start();
    } catch (const Error& e) {
        GTEST_SKIP() << e.what();
    }
    EXPECT_TRUE(server->url().starts_with("https://"));
    auto curl = [&](std::string arguments) {
        auto out = folder / "out";
        int status = std::system(
            fmt::format("curl -s -m 5 --cacert {} {} >{}", options.tls_cert, arguments, out.string())
                .c_str());
        std::ifstream file(out);
        return std::make_pair(status, std::string(std::istreambuf_iterator<char>(file), {}));
    };
    auto url = fmt::format("https://localhost:{}", server->port());
    // localhost may mean ::1 first; curl tries both
    EXPECT_EQ(curl(url + "/hello " + url + "/hello"), std::make_pair(0, std::string("hellohello")));
    EXPECT_EQ(curl("-d abc " + url + "/echo").second, "abc");
    EXPECT_EQ(curl("--http1.0 -H 'Connection: close' " + url + "/hello").second, "hello");
    EXPECT_NE(curl("--tls-max 1.1 " + url + "/hello").first, 0);

    Client plain(server->port());  // plain HTTP on a TLS port
    plain.send(get("/hello"));
    EXPECT_EQ(plain.response().status, 0);
    EXPECT_FALSE(plain.timed_out);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cachalot::server::test
